"""The command line as a user meets it: what it prints, what it writes, and how it says no."""

from __future__ import annotations

import ast
import io
import re
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from console import ROOT, command, refused, run
from PIL import Image

from undertow.commands import COMMANDS

HEAVY = ("torch", "sympy", "numba", "scipy", "numpy", "matplotlib", "xarray", "jax")
SMALL = ("--epochs", "2", "--width", "0.03", "--batch", "8")

pytestmark = pytest.mark.usefixtures("one_thread")


def pictures(count: int = 20) -> dict[str, bytes]:
    """Two classes that a network can tell apart: path -> file."""
    draws, files = np.random.default_rng(0), {}
    for name, dark in (("dark", 0), ("light", 130)):
        for k in range(count):
            file = io.BytesIO()
            Image.fromarray(draws.integers(dark, dark + 100, (8, 8), dtype=np.uint8)).save(file, "PNG")
            files[f"{name}/{k}.png"] = file.getvalue()
    return files


@pytest.fixture(scope="module")
def shades(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, one subfolder a class."""
    folder = tmp_path_factory.mktemp("data") / "shades"
    for name, data in pictures().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("explain adm", ["'adm'", "sgd, momentum, nesterov, adagrad"]),
        ("explain adam --coupling both --strength 1", ["'both'", "none, l2, l1, decoupled_lr"]),
        ("explain adam --l2 -1", ["strength -1.0", ">= 0"]),
        ("explain adam --l2 nan", ["strength nan", ">= 0"]),
        ("explain adam --lr nan", ["lr nan", "finite"]),
        ("explain adam --beta1 1", ["beta1 1.0", "in [0, 1)"]),
        ("explain sgd --beta1 0.5", ["sgd has no hyperparameter 'beta1'", "none"]),
        ("explain adam --momentum 0.5", ["'momentum'", "beta1, beta2, eps"]),
        ("explain adam --lr fast", ["--lr 'fast'", "a number is accepted"]),
        ("explain adam --l2 1 --coupling decoupled_lr", ["l2, coupling", "one regularizer is accepted"]),
        ("explain adam --strength 1", ["strength 1.0 without coupling", "decoupled_lr"]),
        ("explain adam --coupling l2", ["coupling l2 without strength", "needed"]),
        ("explain adam --lrr 1", ["--lrr", "undertow --help"]),
        ("explain adam --lr", ["--lr", "expected one argument", "undertow explain --help"]),
        ("explain", ["SETTING", "undertow explain --help"]),
        ("explain adam --gradient-rms 0", ["gradient rms 0.0", "from 1e-100"]),
        ("convert --from adam", ["--to", "undertow convert --help"]),
        ("convert --from adam --to sgd --gradient-rms 1", ["adam lr=0.001", "has no regularizer"]),
        ("convert --from lion --to sgd --gradient-rms 1 --arrival 2", ["arrival 2.0", "(0, 1]"]),
        ("train", ["DATA", "undertow train --help"]),
        ("train digits --width wide", ["--width 'wide'", "a number is accepted"]),
        ("train digits --batch 1.5", ["--batch '1.5'", "a whole number is accepted"]),
        (
            "frobnicate",
            [
                "frobnicate",
                "'reproduce', 'run', 'train', 'forecast', 'measure', 'prune', 'compare', 'fetch', 'study', 'results'",
            ],
        ),
        ("", ["COMMAND", "undertow --help"]),
    ],
)
def test_bad_input_is_one_line(arguments: str, words: list[str]) -> None:
    said = run(*arguments.split(), encoding="ascii")  # the least that a terminal can show
    refused(said, *words)
    assert "usage:" not in said.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--width", "nan"], ["width nan", "a finite number"]),
        (["--width", "17"], ["width 17", "16"]),
        (["--seed", "-1"], ["seed -1", "from 0 to 9,223,372,036,854,775,807"]),
        (["--optimizer", "adm"], ["'adm'", "adam"]),
        (["--eps", "inf"], ["eps inf", "finite"]),
    ],
)
def test_train_refuses_a_setting_before_it_reads_or_writes(flags: list[str], words: list[str], tmp_path: Path) -> None:
    said = run("train", tmp_path / "no such data", *flags, "--out", tmp_path / "out")
    refused(said, *words)
    assert said.err.count("\n") == 1
    refused(run("reproduce", "--only", "magic", "--out", tmp_path / "out"), "'magic'", "synthetic, fullscale")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("explan adam", "explain"),
        ("explain admw", "adamw"),
        ("explain adam --coupling decopled_lr --strength 1", "decoupled_lr"),
        ("fetch cifar-10", "cifar10"),
        ("run selectve", "selective"),
        ("reproduce --only silense", "silence"),
        ("study digit", "digits"),
        ("claims S66", "S6"),
    ],
)
def test_a_name_that_is_nearly_right_is_offered(words: str, near: str) -> None:
    said = run(*words.split())
    refused(said, f"; did you mean {near!r}?")
    assert len(said.err.rstrip().removeprefix("undertow: ")) <= 600 + len("; see undertow --help")


def test_bad_input_as_a_shell_sees_it() -> None:
    for arguments, words in ((["explain", "adam", "--beta1", "1"], "[0, 1)"), (["train"], "DATA")):
        said = command(*arguments)
        refused(said, words)
        assert "Traceback" not in said.err


def test_a_long_value_is_named_in_part_on_one_line() -> None:
    refused(run("explain", "adam" * 1000), "adam" * 20, " ... ", "adamwschedulefree")
    refused(run("explain", "adam", "--lr", "x" * 300), f"--lr '{'x' * 79}...: a number is accepted")
    refused(run("explain", "adam\nsgd"), "key=value is accepted")


# help


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_explains_and_ends_well(name: str) -> None:
    said = run(*name.split(), "--help")
    assert (said.status, said.err) == (0, "")
    assert "usage: undertow" in said.out
    shown = " ".join(re.sub("[│\n]", " ", said.out).split())
    for other in COMMANDS if not name else [name]:
        assert other in shown
    if not name:
        for command in COMMANDS.values():
            assert str(command.__doc__).split("`: ")[1].split(",")[0].split()[0] in shown


def loaded_by(*arguments: object) -> list[str]:
    """The modules that a command in a process of its own has loaded when it ends."""
    code = (
        "import atexit, sys\nfrom undertow.__main__ import main\n"
        "atexit.register(lambda: print('\\nloaded', *sorted(sys.modules)))\n"
        "sys.exit(main())"
    )
    marked, *loaded = command(*arguments, code=code).out.splitlines()[-1].split()
    assert marked == "loaded"
    assert "argparse" in loaded
    return loaded


def test_help_loads_nothing_heavy() -> None:
    # One process for all: what a command has loaded is there after the next one, too.
    code = (
        "import sys\nfrom undertow.__main__ import main\n"
        "for name in ['', *sys.argv[1:]]:\n"
        "    try:\n        main([*name.split(), '--help'])\n"
        "    except SystemExit:\n        print('\\nloaded', name or 'undertow', *sys.modules)"
    )
    said = [line.split() for line in command(*COMMANDS, code=code).out.splitlines() if line.startswith("loaded ")]
    assert [name for _, name, *_ in said] == ["undertow", *COMMANDS]
    for _, name, *modules in said:
        assert "argparse" in modules
        assert [module for module in modules if module.partition(".")[0] in HEAVY] == [], name


# What is wrong with each, and a word of what is said. FILE: there, and neither a network nor a folder.
SLIPS = {
    "claims NOSUCH": "'NOSUCH'",
    "claims --out FILE/out": "a writable folder",
    "reproduce --only nosuch": "'nosuch'",
    "reproduce --out FILE/out": "a writable folder",
    "reproduce --study paper --data nowhere": "'nowhere'",
    "run nosuch": "'nosuch'",
    "run silence --set nosuch=1": "nosuch=1",
    "explain adam --plot FILE.png": "settings with a regularizer",
    "probe nosuch:make": "nosuch:make",
    "phase nosuch": "'nosuch'",
    "phase rate --out FILE/out": "a writable folder",
    "train nowhere": "'nowhere'",
    "train digits --optimizer nosuch": "'nosuch'",
    "train digits --model nosuch": "'nosuch'",
    "train digits --out FILE/out": "a writable folder",
    "measure nosuch.safetensors --data digits": "nosuch.safetensors",
    "measure FILE --data nowhere": "'nowhere'",
    "measure --net a:b --weights nosuch.pt --data digits": "nosuch.pt",
    "prune nosuch.safetensors -o smaller.safetensors": "nosuch.safetensors",
    "prune FILE -o FILE/smaller.safetensors": "FILE/smaller.safetensors",
    "prune FILE -o smaller.safetensors --data nowhere": "'nowhere'",
    "compare nosuch": "'nosuch'",
    "compare --data nowhere": "'nowhere'",
    "compare --out FILE/out": "a writable folder",
    "fetch nosuch": "'nosuch'",
    "fetch cifar10 --out FILE/out": "a writable folder",
    "study nosuch": "'nosuch'",
    "study digits --data nowhere": "'nowhere'",
    "study digits --out FILE/out": "a writable folder",
    "results nosuch": "'nosuch'",
    "results digits --store nosuch.sqlite": "nosuch.sqlite",
    "merge nosuch.sqlite --into other.sqlite": "nosuch.sqlite",
}


def test_a_slip_is_told_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "FILE").write_text("mine")
    code = (
        "import os, sys\nfrom undertow.__main__ import main\nos.chdir(sys.argv[1])\n"
        "for slip in sys.argv[2:]:\n"
        "    print(main(slip.split()), slip, '|', *sys.modules, flush=True)"
    )
    said = command(tmp_path, *SLIPS, code=code)
    for (slip, word), done, problem in zip(SLIPS.items(), said.out.splitlines(), said.problems, strict=True):
        assert done.startswith(f"2 {slip} |")
        assert word in problem, slip
        loaded = {module.partition(".")[0] for module in done.partition("|")[2].split()}
        assert not loaded & {"torch", "sympy", "scipy", "matplotlib", "xarray", "pandas", "jax"}, slip
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


def test_results_load_neither_torch_nor_images_nor_labelled_arrays() -> None:
    loaded = loaded_by("results", "digits-lr", "--store", ROOT / "fullscale" / "studies" / "digits-lr.sqlite")
    assert [name for name in ("torch", "sklearn", "PIL", "xarray", "rich") if name in loaded] == []


@pytest.mark.parametrize(
    "arguments", [["train", "SHADES", *SMALL, "--epochs", "1", "--out", "OUT"], ["fetch", "nothing", "--out", "OUT"]]
)
def test_train_and_fetch_load_neither_figures_nor_toy_worlds(
    arguments: list[str], shades: Path, tmp_path: Path
) -> None:
    places = {"SHADES": shades, "OUT": tmp_path}
    loaded = loaded_by(*(places.get(word, word) for word in arguments))
    assert ("fullscale.train" in loaded) == ("torch" in loaded) == ("PIL" in loaded) == (arguments[0] == "train")
    assert [m for m in loaded if m.partition(".")[0] in ("matplotlib", "figures", "synthetic")] == []


ROOMS = ("dynamics", "evidence", "synthetic", "fullscale", "figures", "undertow")


LAYERS = [{"libraries", "optimizer"}, {"theory"}, {"simulate"}, {"couplings", "estimate", "rule", "rules", "words"}]


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """(where, module) of each import, those within functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"dynamics.{a.name}" for a in node.names] if node.module == "dynamics" else [node.module]
        yield from ((f"{file.name}, line {node.lineno}", name) for name in names)


@pytest.mark.parametrize("room", ROOMS[:-1])
def test_imports_run_one_way(room: str) -> None:
    beside = {"synthetic": "fullscale", "fullscale": "synthetic"}.get(room)
    later = {*ROOMS[ROOMS.index(room) + 1 :], beside}
    for file in (ROOT / room).rglob("*.py"):
        for where, name in imported(file):
            assert name.partition(".")[0] not in later, f"{where}: {name}"


@pytest.mark.parametrize("level", range(len(LAYERS)))
def test_imports_within_dynamics_run_one_way(level: int) -> None:
    above = {"answers"}.union(*LAYERS[:level])
    for part in LAYERS[level]:
        beside = LAYERS[level] - {part} if level == 0 else set()
        files = [*(ROOT / "dynamics" / part).rglob("*.py"), *(ROOT / "dynamics").glob(f"{part}.py")]
        assert files
        for where, name in (found for file in files for found in imported(file)):
            assert name.split(".")[1:2] not in [[other] for other in above | beside], f"{where}: {name}"


# places that cannot be used


@pytest.fixture(params=["reproduce --only synthetic", f"train SHADES {' '.join(SMALL)}", "study digits"])
def writer(request: pytest.FixtureRequest, shades: Path) -> list[str]:
    """Each command that writes, up to its --out."""
    return [str(shades) if word == "SHADES" else word for word in request.param.split()]


def test_a_file_in_the_way_of_the_output_folder(writer: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "below"):
        refused(run(*writer, "--out", out), str(out), "a writable folder is accepted")
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]
    if Path("/proc/self").exists():  # a place in which nobody may write
        refused(run(*writer, "--out", "/proc/undertow"), "/proc/undertow", "a writable folder is accepted")


@pytest.mark.parametrize(
    "words", ["train digits", "compare", "reproduce --only silence", "phase rate --cells 3 --steps 5"]
)
def test_a_folder_that_another_run_writes_into_is_refused_at_once(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(_: Path) -> int:
        raise BlockingIOError

    monkeypatch.setattr("evidence.files._locked", taken)
    refused(
        run(*words.split(), "--out", tmp_path / "out"), f"another undertow {words.split(maxsplit=1)[0]}", "is accepted"
    )
    assert list(tmp_path.iterdir()) == []


STORES = {
    "newer": ("pragma user_version = 1000; create table runs (unknown)", ["results.sqlite", "format 1000", "up to 2 is accepted"]),
    "another's": (
        "create table addresses (name); insert into addresses values ('Ada')",
        ["holds other tables (addresses)", "accepted"],
    ),
    "none": ("", ["results.sqlite", "a writable SQLite file is accepted"]),
}  # fmt: skip


@pytest.mark.parametrize("case", STORES)
def test_a_store_of_somebody_else_stays_untouched(case: str, writer: list[str], tmp_path: Path) -> None:
    script, words = STORES[case]
    file = tmp_path / "results.sqlite"
    with sqlite3.connect(file) as db:
        db.executescript(script)
    db.close()
    if not script:
        file.write_text("the minutes of a meeting\n" * 50)
    before = file.read_bytes()
    refused(run(*writer, "--out", tmp_path), *words)
    assert file.read_bytes() == before


# train


@pytest.mark.parametrize("case", ["missing", "cut", "outside"])
def test_train_on_images_that_cannot_be_used(case: str, tmp_path: Path) -> None:
    source = tmp_path / f"{case}.tar"
    if case != "missing":
        with tarfile.open(source, "w") as archive:
            for name, data in (pictures(4) | {f"{'../' * (case == 'outside')}x.png": b""}).items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    if case == "cut":
        source.write_bytes(source.read_bytes()[:3000])
    words = {"missing": "cannot be found", "cut": "a whole .tar archive", "outside": "'../x.png'"}[case]
    refused(run("train", source, *SMALL, "--out", tmp_path / "out"), source.name, words, "accepted")
    assert {path.name for path in tmp_path.iterdir()} <= {source.name, "out"}
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not (tmp_path.parent / "x.png").exists()


def rows(folder: Path) -> list[Any]:
    from evidence.store import Store

    with Store(folder / "results.sqlite") as store:
        return store.rows("train")


def test_train_asks_for_classes_and_batches_that_exist(shades: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    refused(run("train", shades, *SMALL, *out, "--classes", "dark", "grey"), "'grey'", "'dark', 'light'")
    refused(run("train", shades, *SMALL, *out, "--classes", "dark"), "['dark']", "two or more are accepted")
    refused(run("train", shades, *SMALL, *out, "--batch", "1000"), "batch 1000", "must be at most 32")
    assert not (tmp_path / "out").exists()


def test_train_leaves_two_networks_that_agree_as_certified(shades: Path, tmp_path: Path) -> None:
    import torch

    from fullscale.checkpoint import load_network
    from fullscale.data import load
    from fullscale.feed import Resident, joined

    said = run("train", shades, *SMALL, "--l2", "1e-3", "--out", tmp_path)
    assert (said.status, said.problems) == (0, [])
    assert "1 of 2 done, 1 left: loss" in said.err
    network, smaller = (load_network(tmp_path / f"{name}.safetensors") for name in ("network", "smaller"))
    [row] = rows(tmp_path)
    certificate = row.summary["certificate"]
    assert (row.status, row.spec["coupling"], row.spec["strength"]) == ("done", "l2", 1e-3)

    x, y = joined(Resident(load(shades)).test(8), 8)
    with torch.no_grad():
        whole, rest = network(x), smaller(x)
    assert float((whole - rest).abs().max()) == pytest.approx(certificate["held_out_difference"], abs=1e-6)
    assert float((whole.argmax(1) != y).double().mean()) == certificate["error_before"]
    assert float((rest.argmax(1) != y).double().mean()) == certificate["error_after"]
    for net, when in ((network, "before"), (smaller, "after")):
        assert sum(p.numel() for p in net.parameters()) == certificate[f"parameters_{when}"]
    assert f"{certificate['parameters_before']:,} -> {certificate['parameters_after']:,}" in said.out
    assert f"{certificate['held_out_difference']:.2e} on 8 test images" in said.out
    for name in ("network", "smaller"):
        assert str((tmp_path / f"{name}.safetensors").resolve()) in said.out

    again = run("train", shades, *SMALL, "--l2", "1e-3", "--out", tmp_path)
    assert again.out == said.out
    assert len(rows(tmp_path)) == 1


def test_train_on_fewer_classes_smaller_images_and_wrong_labels(tmp_path: Path) -> None:
    from fullscale.data import load, prepared

    asked = ("train", "digits", *SMALL, "--out", tmp_path)
    how = ("--classes", "8,1", "--size", "4", "--label-noise", "0.25")
    said = run(*asked, *how, "--epochs", "1", "--batch", "200")
    assert said.status == 0, said.err
    assert "adam on digits, 2 classes, 4 x 4, 25% of labels random: 0 of 1 done" in said.err
    [row] = rows(tmp_path)
    made = {name: row.spec[name] for name in ("classes", "size", "label_noise", "digest")}
    digest = prepared(load("digits"), ("1", "8"), 4, 0.25).digest
    assert made == {"classes": ["1", "8"], "size": 4, "label_noise": 0.25, "digest": digest}
    # Looked at on the same images, with classes written as one does in a sentence; on others that is told.
    look = ("measure", tmp_path / "network.safetensors", "--data", "digits", "--classes", "8,", "1")
    assert "trained on others" not in (same := run(*look, *how[2:])).out + same.err
    assert digest[:12] in same.out
    refused(run(*look[:5], ","), "--classes ','", "names of classes are accepted")
    refused(run(*asked), "holds another run (", "another --out")
    refused(run(*asked, "--label-noise", "1.5"), "label_noise 1.5", "[0, 1]")
    refused(run(*asked, "--size", "9"), "size 9", "1 to 8")
    # Larger pictures on disk come in the size that is asked for, but as they are.
    for name, data in pictures(2).items():
        (tmp_path / "sizes" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sizes" / name).write_bytes(data)
    Image.new("RGB", (40, 30)).save(tmp_path / "sizes" / "dark" / "0.png")
    on_disk = ("train", tmp_path / "sizes", *SMALL, "--batch", "2", "--out", tmp_path / "other")
    refused(run(*on_disk, "--classes", "dark,light"), "--classes ('dark', 'light') of pictures that stay on disk")
    refused(run(*on_disk, "--label-noise", "0.1"), "--label-noise 0.1 of pictures that stay on disk")
    assert run(*on_disk, "--size", "12").status == 0
    [row] = rows(tmp_path / "other")
    assert row.spec["size"] == 12


def test_a_run_that_diverges_is_one_line_and_a_stored_row(shades: Path, tmp_path: Path) -> None:
    said = run("train", shades, *SMALL, "--lr", "1e30", "--out", tmp_path)
    assert (said.status, said.out) == (1, "")
    [line] = said.problems
    assert re.match(r"diverged: .*epoch 1 of 2", line)
    [row] = rows(tmp_path)
    assert (row.status, row.spec["lr"]) == ("diverged", 1e30)
    assert line.removeprefix("diverged: ") in row.error
    assert not list(tmp_path.glob("*.safetensors"))


# the names that a user imports


def test_every_name_of_the_face_is_there_and_is_loaded_when_asked_for() -> None:
    import undertow

    code = "import sys, undertow; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = command(code=code).out.split()
    assert [name for name in HEAVY if name in loaded] == []
    for name in undertow.__all__:
        assert getattr(undertow, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = undertow.nothing


def test_the_face_lists_and_completes_its_names_each_written_once() -> None:
    import rlcompleter

    import undertow

    assert set(undertow.__all__) <= set(dir(undertow))
    found = rlcompleter.Completer({"undertow": undertow}).attr_matches("undertow.")
    # Where torch is not installed, only what works without it: else completing would end at the first name that does not.
    code = (
        "import sys; sys.modules['torch'] = None; import rlcompleter, undertow\n"
        "print(*rlcompleter.Completer({'undertow': undertow}).attr_matches('undertow.'))"
    )
    with_torch, without = (
        {word.rstrip("()").removeprefix("undertow.") for word in words}
        for words in (found, command(code=code).out.split())
    )
    assert set(undertow.__all__) <= with_torch
    assert "explain" in without
    assert "Optimizer" not in without
    face = (ROOT / "undertow" / "__init__.pyi").read_text(encoding="utf-8")
    assert len(set(undertow.__all__)) == len(undertow.__all__) == face.count(" import ")
    for name in undertow.__all__:
        assert f" {name} as {name}\n" in face
        assert name not in (ROOT / "undertow" / "__init__.py").read_text(encoding="utf-8").split()


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    import undertow

    assert undertow.__version__ == version("undertow")
    said = command("--version")
    assert (said.status, said.out) == (0, f"undertow {version('undertow')}\n")

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


@pytest.fixture(autouse=True)
def torch_as_it_was() -> Iterator[None]:
    # `train` sets both for its process; here, other tests come after it.
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def png(draws: np.random.Generator, dark: int, size: tuple[int, int] = (8, 8)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draws.integers(dark, dark + 100, size, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def pictures(count: int = 20) -> dict[str, bytes]:
    """Two classes that a network can tell apart: path -> file."""
    draws = np.random.default_rng(0)
    return {f"{name}/{k}.png": png(draws, dark) for name, dark in (("dark", 0), ("light", 130)) for k in range(count)}


def tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


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
        ("explain adam --l2 inf", ["strength inf", "finite"]),
        ("explain adam --lr nan", ["lr nan", "finite"]),
        ("explain adam --beta1 1", ["beta1 1.0", "in [0, 1)"]),
        ("explain adam --beta2 -0.1", ["beta2 -0.1", "in [0, 1)"]),
        ("explain sgd --beta1 0.5", ["sgd has no hyperparameter 'beta1'", "none"]),
        ("explain adam --momentum 0.5", ["'momentum'", "beta1, beta2, eps"]),
        ("explain adam --lr fast", ["--lr 'fast'", "a number is accepted"]),
        ("explain adam --l2 1 --coupling decoupled_lr", ["l2, coupling", "one regularizer is accepted"]),
        ("explain adam --l2 1 --coupling l2 --strength 2", ["l2, coupling, strength", "one regularizer is accepted"]),
        ("explain adam --strength 1", ["strength 1.0 without coupling", "decoupled_lr"]),
        ("explain adam --coupling l2", ["coupling l2 without strength", "needed"]),
        ("explain adam --colour red", ["--colour", "undertow --help"]),
        ("explain --bogus adam", ["--bogus", "undertow --help"]),
        ("explain adam --lrr 1", ["--lrr", "undertow --help"]),
        ("explain adam --lr", ["--lr", "expected one argument", "undertow explain --help"]),
        ("explain", ["SETTING", "undertow explain --help"]),
        ("explain adam sgdm", ["'sgdm'", "sgd, momentum"]),
        ("explain adam --gradient-rms 0", ["gradient rms 0.0", "positive"]),
        ("convert --from adam --to sgd", ["--gradient-rms", "undertow convert --help"]),
        ("convert --from adam --to sgd --gradient-rms 1", ["adam lr=0.001", "has no regularizer"]),
        ("convert --from adm --to sgd --gradient-rms 1", ["'adm'"]),
        ("convert --from lion --to sgd --gradient-rms 1 --arrival 2", ["arrival 2.0", "(0, 1]"]),
        ("train", ["DATA", "undertow train --help"]),
        ("train digits --width wide", ["--width 'wide'", "a number is accepted"]),
        ("train digits --batch 1.5", ["--batch '1.5'", "a whole number is accepted"]),
        ("frobnicate", ["frobnicate", "'reproduce', 'run', 'train', 'measure', 'prune', 'compare', 'fetch', 'tune'"]),
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
        (["--width", "0"], ["width 0.0", "at most 16"]),
        (["--width", "1e9"], ["width 1000000000.0", "at most 16"]),
        (["--width", "nan"], ["width nan", "at most 16"]),
        (["--epochs", "0"], ["epochs 0", "positive whole number"]),
        (["--batch", "1"], ["batch 1", "at least 2"]),
        (["--seed", "-1"], ["seed -1", "from 0 to 2^63 - 1"]),
        (["--schedule", "linear"], ["'linear'", "constant, step, cosine"]),
        (["--optimizer", "adm"], ["'adm'", "adam"]),
        (["--lr", "-1"], ["lr -1.0", ">= 0"]),
        (["--eps", "inf"], ["eps inf", "finite"]),
    ],
)
def test_train_refuses_a_setting_before_it_reads_or_writes(flags: list[str], words: list[str], tmp_path: Path) -> None:
    said = run("train", tmp_path / "no such data", *flags, "--out", tmp_path / "out")
    refused(said, *words)
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_part_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    refused(run("reproduce", "--only", "magic", "--out", tmp_path / "out"), "'magic'", "synthetic, fullscale")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "adm"], "'adm'"),
        (["explain", "adam", "--beta1", "1"], "[0, 1)"),
        (["explain", "adam", "--lr", "fast"], "'fast'"),
        (["train"], "DATA"),
    ],
)
def test_bad_input_as_a_shell_sees_it(arguments: list[str], words: str) -> None:
    said = command(*arguments)
    refused(said, words)
    assert "Traceback" not in said.err


def test_a_long_value_is_named_whole_on_one_line() -> None:
    refused(run("explain", "adam" * 100), "adam" * 100)
    said = run("explain", "adam", "--lr", "x" * 300)
    refused(said, "--lr 'xxx", "': a number is accepted")
    assert "x" * 300 in said.err
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


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_loads_nothing_heavy(name: str) -> None:
    loaded = {module.partition(".")[0] for module in loaded_by(*name.split(), "--help")}
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.parametrize(
    "arguments", [["train", "SHADES", *SMALL, "--epochs", "1", "--out", "OUT"], ["fetch", "nothing", "--out", "OUT"]]
)
def test_train_and_fetch_load_neither_figures_nor_toy_worlds(
    arguments: list[str], shades: Path, tmp_path: Path
) -> None:
    places = {"SHADES": shades, "OUT": tmp_path}
    loaded = loaded_by(*(places.get(word, word) for word in arguments))
    assert ("fullscale.train" in loaded) == (arguments[0] == "train")
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


def stored(folder: Path, script: str) -> Path:
    """A results.sqlite made by these statements."""
    folder.mkdir()
    db = sqlite3.connect(folder / "results.sqlite")
    db.executescript(script)
    db.close()
    return folder / "results.sqlite"


WRITERS = {
    "reproduce": ["reproduce", "--only", "synthetic"],
    "train": ["train", "SHADES", *SMALL],
    "tune": ["tune"],
}


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest, shades: Path) -> list[str]:
    """Each command that writes, up to its --out."""
    return [str(shades) if word == "SHADES" else word for word in WRITERS[request.param]]


def test_a_file_in_the_way_of_the_output_folder(writer: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "below"):
        refused(run(*writer, "--out", out), str(out), "a writable folder is accepted")
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place in which nobody may write")
def test_an_output_folder_where_nobody_may_write(writer: list[str]) -> None:
    refused(run(*writer, "--out", "/proc/undertow"), "/proc/undertow", "a writable folder is accepted")


STORES = {
    "newer": ("pragma user_version = 1000; create table runs (unknown)", ["results.sqlite", "format 1000", "up to 1 is accepted"]),
    "another's": (
        "create table addresses (name); insert into addresses values ('Ada')",
        ["holds other tables (addresses)", "accepted"],
    ),
    "none": ("", ["results.sqlite", "a writable SQLite file is accepted"]),
}  # fmt: skip


@pytest.mark.parametrize("case", STORES)
def test_a_store_of_somebody_else_stays_untouched(case: str, writer: list[str], tmp_path: Path) -> None:
    script, words = STORES[case]
    file = stored(tmp_path / "out", script)
    if not script:
        file.write_text("the minutes of a meeting\n" * 50)
    before = file.read_bytes()
    refused(run(*writer, "--out", file.parent), *words)
    assert file.read_bytes() == before


# train


def archives(folder: Path) -> dict[str, tuple[Path, list[str]]]:
    """Images that cannot be used, and what must be said about each."""
    draws, files = np.random.default_rng(1), pictures(4)
    whole = tar(folder / "whole.tar.gz", files).read_bytes()
    cut = folder / "cut.tar.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    text = folder / "notes.txt"
    text.write_text("no images")
    one = {name: data for name, data in files.items() if name.startswith("dark")}
    return {
        "missing": (folder / "missing.tar.gz", ["missing.tar.gz", "cannot be found", ".tar.gz"]),
        "cut": (cut, ["cut.tar.gz", "a whole .tar.gz archive is accepted"]),
        "other": (text, ["notes.txt", "a directory or an archive"]),
        "one class": (tar(folder / "one.tar.gz", one), ["one.tar.gz", "'dark'", "two or more are accepted"]),
        "sizes": (
            tar(folder / "sizes.tar.gz", files | {"dark/x.png": png(draws, 0, (9, 8))}),
            ["'dark/x.png' is 8 x 9", "one size is accepted"],
        ),
        "outside": (
            tar(folder / "outside.tar.gz", files | {"../x.png": png(draws, 0)}),
            ["'../x.png'", "relative paths inside the archive are accepted"],
        ),
        "empty": (folder / "empty", ["empty", "accepted"]),
    }


@pytest.mark.parametrize("case", ["missing", "cut", "other", "one class", "sizes", "outside", "empty"])
def test_train_on_images_that_cannot_be_used(case: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source, words = archives(tmp_path)[case]
    before = {path.name for path in tmp_path.iterdir()}
    refused(run("train", source, *SMALL, "--out", tmp_path / "out"), *words)
    assert {path.name for path in tmp_path.iterdir()} <= before | {"out"}
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
    assert rows(tmp_path / "out") == []


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
    certificate = row.summary["seeds"][0]["certificate"]
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


def test_train_takes_an_archive_as_it_takes_its_folder(shades: Path, tmp_path: Path) -> None:
    archive = tar(tmp_path / "shades.tar.gz", pictures())
    quick = ("--epochs", "1", "--width", "0.02", "--batch", "8")
    outs = []
    for source in (shades, archive):
        assert run("train", source, *quick, "--out", tmp_path / "out").status == 0
        outs.append((tmp_path / "out" / "network.safetensors").read_bytes())
    assert outs[0] == outs[1]
    assert len(rows(tmp_path / "out")) == 1


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


def test_the_face_lists_and_completes_its_names() -> None:
    import rlcompleter

    import undertow

    names = [name for name in dir(undertow) if not name.startswith("_")]
    assert set(undertow.__all__) <= set(names)
    completed = rlcompleter.Completer({"undertow": undertow}).attr_matches("undertow.")
    assert {f"undertow.{name}" for name in names} <= {word.rstrip("()") for word in completed}
    # Where torch is not installed, only what works without it: else completing would end at the first name that does not.
    code = (
        "import sys; sys.modules['torch'] = None; import rlcompleter, undertow\n"
        "print(*rlcompleter.Completer({'undertow': undertow}).attr_matches('undertow.'))"
    )
    without = {word.rstrip("()") for word in command(code=code).out.split()}
    assert "undertow.explain" in without
    assert "undertow.Optimizer" not in without


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    import undertow

    assert undertow.__version__ == version("undertow")
    said = command("--version")
    assert (said.status, said.out) == (0, f"undertow {version('undertow')}\n")


def test_each_public_name_is_written_once() -> None:
    import undertow

    face = (ROOT / "undertow" / "__init__.pyi").read_text(encoding="utf-8")
    assert len(set(undertow.__all__)) == len(undertow.__all__) == face.count(" import ")
    for name in undertow.__all__:
        assert f" {name} as {name}\n" in face
        assert name not in (ROOT / "undertow" / "__init__.py").read_text(encoding="utf-8").split()

"""Study files: what they say, and how their mistakes are told."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from dynamics.errors import InputError
from fullscale.data import canonical, load, prepared
from fullscale.spec import RunSpec
from fullscale.studies import Found, Source, Study, asked, built_in, find_studies, find_study, on_images

TOML = """
name = "batch"
title = "Batch size"

[fixed]
data = "digits"
epochs = 10

[axes]
optimizer = ["adam", "sgd"]
seed = [0, 1]

[[override]]
when = { optimizer = "sgd" }
lr = [0.3, 0.1]

[[exclude]]
optimizer = "sgd"
seed = 1
"""

PYTHON = """
from fullscale.studies import Study

study = Study(
    "batch",
    title="Batch size",
    fixed={"data": "digits", "epochs": 10},
    axes={"optimizer": ["adam", "sgd"], "seed": [0, 1]},
    override=[{"when": {"optimizer": "sgd"}, "lr": [0.3, 0.1]}],
    exclude=[{"optimizer": "sgd", "seed": 1}],
)
"""


def written(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(text)
    return str(file)


def test_toml_and_python_say_the_same(tmp_path: Path) -> None:
    toml, python = (find_study(written(tmp_path, f"s.{end}", text)) for end, text in (("toml", TOML), ("py", PYTHON)))
    assert toml.cells() == python.cells()
    shared = {"data": "digits", "epochs": 10}
    assert toml.cells() == [
        shared | {"optimizer": "adam", "seed": 0},
        shared | {"optimizer": "adam", "seed": 1},
        shared | {"optimizer": "sgd", "seed": 0, "lr": 0.3},
        shared | {"optimizer": "sgd", "seed": 0, "lr": 0.1},
    ]
    assert (toml.name, toml.title) == (python.name, python.title) == ("batch", "Batch size")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.toml", "name = \n", "line 1"),
        ("s.toml", "name = 'a'\naxis = 3\n", "'axis' is unknown: accepted are name, title"),
        ("s.toml", "[axes]\nlr = [1]\n", "has no name"),
        ("s.toml", "name = 'a'\n[axes]\nlr = []\n", "axis 'lr' is empty"),
        ("s.toml", "name = 'a'\naxes = 3\n", "axes 3 of a study: names with lists"),
        ("s.toml", "name = 'a'\noverride = [3]\n", "override 3 of a study"),
        ("s.toml", "name = 'a/b'\n", "name 'a/b' of a study"),
        ("s.toml", "name = 'a'\n[fixed]\nlr = 1\nlr = 2\n", "line 4"),
        ("s.toml", f"name = 'a'\n[axes]\nx = {'[' * 5000}{']' * 5000}\n", "recursion"),
        ("s.toml", f"name = 'a'\n[axes]\nlr = [{'9' * 5000}]\n", "digits"),
        ("s.py", "x = 1\nx = (\n", "s.py, line 2"),
        ("s.py", "raise GeneratorExit\n", "s.py, line 1: GeneratorExit"),
        ("s.py", "x = 1\n1 / 0\n", "s.py, line 2: ZeroDivisionError: division by zero"),
        ("s.py", "import sys\nsys.exit(3)\n", "s.py, line 2: SystemExit: 3"),
        ("s.py", "def f():\n    raise OSError('no')\n\nf()\n", "s.py, line 2: OSError: no"),
        (
            "s.py",
            "from fullscale.studies import Study\ns = Study('a', axes={'lr': []})\n",
            "line 2: axis 'lr' is empty",
        ),
        ("s.py", "x = 1\n", "holds 0 studies"),
        ("s.py", "from fullscale.studies import Study\na, b = Study('a'), Study('b')\n", "holds 2 studies"),
        ("s.py", "\udcff", "it is no text"),
    ],
)
def test_a_file_that_is_no_study_is_said_in_one_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError) as error:
        find_study(str(file))
    assert said in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_study_imports_what_lies_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", before := list(sys.path))
    written(tmp_path, "values_of_mine.py", "SEEDS = [3, 4]\n")
    text = PYTHON.replace("[0, 1]", "SEEDS").replace('"seed": 1', '"seed": 4')
    study = find_study(written(tmp_path, "s.py", f"from values_of_mine import SEEDS\n{text}"))
    assert study.axes["seed"] == [3, 4]
    assert sys.path == before


def test_a_study_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"study 'digit' is unknown: accepted are .*digits"):
        find_study("digit")
    with pytest.raises(InputError, match=r"no.toml is no file or cannot be read \(No such file"):
        find_study("no.toml")


@pytest.mark.parametrize("name", built_in())
def test_a_study_of_the_package_goes_by_the_name_of_its_file(name: str) -> None:
    study = find_study(name)
    assert study.name == name
    assert study.title
    assert study.cells()


def test_what_is_fixed_need_not_be_varied() -> None:
    assert Study("one", fixed={"epochs": 1}).cells() == [{"epochs": 1}]


def runs(**words: object) -> list[RunSpec]:
    return [run.spec for run in asked(Study("s", **words))]  # type: ignore[arg-type]


def test_without_a_regularizer_there_is_one_run_at_every_strength() -> None:
    axes = {"coupling": ["none", "l2", "decoupled_lr"], "strength": [0, 1e-4, 1e-3]}
    found = [(spec.coupling, spec.strength) for spec in runs(axes=axes)]
    assert found == [("none", 0), *((c, s) for c in ("l2", "decoupled_lr") for s in (1e-4, 1e-3))]


def test_a_hyperparameter_at_its_default_is_the_run_that_does_not_name_it() -> None:
    named, other = runs(axes={"beta2": [0.999, 0.9]}, fixed={"optimizer": "adam"})
    assert named == runs(fixed={"optimizer": "adam"})[0]
    assert other.hyper == (("beta2", 0.9),)


def test_what_is_left_out_is_as_in_undertow_train() -> None:
    from undertow.__main__ import parser

    given = parser().parse_args(["train", "digits"])
    [spec] = runs()
    assert {
        name: getattr(spec, name) for name in ("optimizer", "batch", "epochs", "seed", "schedule", "precision")
    } == {name: getattr(given, name) for name in ("optimizer", "batch", "epochs", "seed", "schedule", "precision")}
    assert (spec.width, spec.lr, spec.coupling) == (0.125, 1e-3, "none")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"fixed": {"learning_rate": 1}}, "'learning_rate' of study s is unknown: accepted are data, steps, width"),
        ({"fixed": {"digest": "a"}}, "'digest' of study s is unknown"),
        ({"axes": {"lr": [1, -1]}}, "1 of 2 runs cannot be, the first (lr -1): lr -1.0 is out of range"),
        ({"fixed": {"lr": "0.1"}}, "lr '0.1': a number is accepted"),
        ({"fixed": {"batch": 2.5}}, "batch 2.5: a whole number is accepted"),
        ({"fixed": {"batch": math.inf}}, "batch inf: a whole number is accepted"),
        ({"fixed": {"lr": 10**400}}, f"lr {10**400}: a number is accepted"),
        ({"fixed": {"augment": 1}}, "augment 1: true or false is accepted"),
        ({"fixed": {"classes": "cat"}}, "classes 'cat': a list of words is accepted"),
        ({"fixed": {"model": 3}}, "model 3: a word is accepted"),
        ({"fixed": {"steps": 9, "epochs": 1}}, "steps 9 and epochs 1: one of them"),
        ({"fixed": {"steps": 0}}, "steps 0: a positive whole number"),
        ({"fixed": {"strength": 1e-4}}, "strength 0.0001 without a coupling"),
        ({"fixed": {"coupling": "l2"}}, "coupling 'l2' without a strength"),
        ({"fixed": {"coupling": "l3", "strength": 0}}, "coupling 'l3' is unknown"),
        ({"fixed": {"optimizer": "sgd", "beta2": 0.9}}, "beta2"),
        ({"axes": {"optimizer": ["adam", "adamm"]}}, "(optimizer adamm): optimizer 'adamm' is unknown"),
    ],
)
def test_runs_that_cannot_be_are_refused_before_any_data_are_read(words: dict[str, object], said: str) -> None:
    with pytest.raises(InputError) as error:
        runs(**words)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_steps_are_the_nearest_epochs_of_the_images_that_a_run_has() -> None:
    images = prepared(load("digits"), ("1", "7"), 4)
    asked_for = {"classes": ["1", "7"], "size": 4, "steps": 30, "batch": 16, "measure_every": 99}
    [with_all, with_part] = asked(Study("s", fixed=asked_for, axes={"validation": [0, 0.2]}))
    [held_out] = asked(Study("s", fixed=asked_for | {"held_out": 0.2}))
    assert with_all.source == Source("", ("1", "7"), 4)
    counts = tuple(int((images.train.labels == k).sum()) for k in range(2))
    found = Found(images.digest, "", counts, (1, 4, 4), canonical(load("digits"), ("1", "7"), 4))
    assert found.training(held_out.on(found)) == len(images.validation(0.2, 3).train.labels)
    for run in (with_all, with_part, held_out):
        spec = run.on(found)
        steps = found.training(spec) // 16
        assert abs(spec.epochs * steps - 30) <= steps / 2
        assert spec.measure_every == spec.epochs
        assert (spec.digest, spec.classes, spec.size) == (images.digest, ("1", "7"), 4)
    with pytest.raises(InputError, match=r"batch 16: .* one batch is accepted"):
        with_all.on(Found("", "", (5, 5), (1, 4, 4), {}))


def test_what_comes_to_the_same_run_on_these_images_is_one() -> None:
    study = Study("s", axes={"size": [0, 8, 4], "classes": [[], ["1", "0"], ["0", "1"]]})
    found = {}
    for run in asked(study):
        given = run.source.classes, run.source.size
        images = prepared(load("digits"), *given)
        found[run.source] = Found(images.digest, "", (500, 500), (1, 8, 8), canonical(load("digits"), *given))
    specs = [spec for _, spec in on_images(asked(study), found)]
    assert [(spec.size, spec.classes) for spec in specs] == [(s, c) for s in (0, 4) for c in ((), ("0", "1"))]


def test_a_first_word_stands_for_all_studies_that_begin_with_it() -> None:
    found = find_studies("paper", size=32)
    names = [study.name for study in found]
    assert names == sorted(name for name in built_in() if name.startswith("paper-"))
    assert len(names) > 1
    assert all(study.fixed.get("size", 32) == 32 for study in found)
    # Else they are as they were: a study that varies what is changed keeps its values.
    for study in found:
        old = find_study(study.name)
        assert (study.axes, study.override, {**study.fixed, "size": 0}) == (
            old.axes,
            old.override,
            {**old.fixed, "size": 0},
        )
    assert [study.name for study in find_studies("digits")] == ["digits"]
    with pytest.raises(InputError, match="size 32: study digits does not fix it"):
        find_studies("digits", size=32)
    with pytest.raises(InputError, match="study 'pap' is unknown"):
        find_studies("pap")

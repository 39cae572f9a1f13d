"""Study files: what they say, and how their mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamics.errors import InputError
from fullscale.studies import Study, built_in, find_study

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
        ("s.py", "x = 1\nx = (\n", "s.py, line 2"),
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


def test_a_study_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"study 'digit' is unknown: accepted are .*digits"):
        find_study("digit")
    with pytest.raises(InputError, match=r"study no.toml cannot be read \(No such file"):
        find_study("no.toml")


@pytest.mark.parametrize("name", built_in())
def test_a_study_of_the_package_goes_by_the_name_of_its_file(name: str) -> None:
    study = find_study(name)
    assert study.name == name
    assert study.title
    assert study.cells()


def test_what_is_fixed_need_not_be_varied() -> None:
    assert Study("one", fixed={"epochs": 1}).cells() == [{"epochs": 1}]

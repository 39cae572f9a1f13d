"""A rule from a file outside the package runs wherever a rule does, and a file that cannot be used is refused in a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from console import command, refused, run
from matplotlib import pyplot as plt

from dynamics import rules
from dynamics.answers.convert import convert
from dynamics.answers.explain import explain
from dynamics.answers.pull_rate import Gradients
from dynamics.answers.setting import make, parse, parse_target
from dynamics.couplings import COUPLINGS, compose
from dynamics.errors import InputError
from dynamics.optimizer.optimizer import Optimizer
from dynamics.rule import RANGES
from dynamics.rules import BUILT_IN, RULES, load_rules
from dynamics.simulate.gradients import selective
from dynamics.simulate.lanes import simulate
from dynamics.words import FLOATS
from evidence.executors.local import processes
from evidence.store import key_of
from figures import crossover, equilibrium, explorer, javascript, minima, pull, rest, silence
from figures.style import Picture, colour_of
from synthetic.noise import Noise
from synthetic.quadratic import Quadratic
from synthetic.rest import Rest
from synthetic.selective import Selective
from synthetic.selectivity import Selectivity
from synthetic.silence import Silence

# signSGD with momentum, and a plain running mean of gradients: neither has a v, and the second is linear.
FILE = """
from dynamics.rule import BELOW_ONE, Rule
from dynamics.words import sign

def _signum(w, g, m, lr, fading):
    m = fading * m + (1 - fading) * g
    return w - lr * sign(m), m

def _averaged(w, g, m, lr, fading):
    m = fading * m + (1 - fading) * g
    return w - lr * m, m

signum = Rule("signum", _signum, ("m",), {}, {"fading": 0.9}, lr=1e-4, label="Signum", ranges={"fading": BELOW_ONE})
averaged = Rule("averaged", _averaged, ("m",), {}, {"fading": 0.9}, lr=0.1)
"""
OWN = ("signum", "averaged")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test loads is known in it alone."""
    known, files = dict(rules._rules), dict(rules._own)
    yield
    rules._rules.clear()
    rules._own.clear()
    rules._rules.update(known)
    rules._own.update(files)
    plt.close("all")


@pytest.fixture
def loaded(file: Path, forgotten: None) -> Path:
    load_rules(file)
    return file


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("rule", OWN)
class TestWithin:
    def test_the_simulator_compiled_and_not(self, rule: str) -> None:
        lanes = {"strength": 0.1, "arrival": 0.3, "pull": 0.5, "target": 0.7, "sigma": 0.4, "fading": [0.9, 0.5]}
        paths = [
            simulate(rule, "l2", selective, record=[0, 7, 300], lanes=lanes, fields=("w", "m"), compiled=compiled)
            for compiled in (True, False)
        ]
        for name in ("w", "m"):
            np.testing.assert_array_equal(paths[0].fields[name], paths[1].fields[name])
        assert len(np.unique(paths[0].w)) == 5  # both start at 1

    @pytest.mark.parametrize("coupling", ["l2", "decoupled_lr"])
    def test_the_torch_optimizer(self, rule: str, coupling: str) -> None:
        p = torch.nn.Parameter(torch.tensor([1.0, -0.5], dtype=torch.float64))
        optimizer = Optimizer([p], rule, coupling, lr=0.01, weight_decay=0.1)
        step, expected = compose(RULES[rule], COUPLINGS[coupling], FLOATS), [(1.0, 0.0), (-0.5, 0.0)]
        for t in range(9):
            p.grad = torch.sin(p.detach() + t)
            grads = p.grad.tolist()
            optimizer.step()
            expected = [step(w, g, (m,), 0.01, 1.0, 0.1, (0.9,)) for (w, m), g in zip(expected, grads, strict=True)]  # type: ignore[misc]
        np.testing.assert_allclose(p.detach().numpy(), [w for w, _ in expected], rtol=1e-12)

    def test_the_explorer(self, rule: str) -> None:
        page = explorer.page()
        assert f'<option value="{rule}">' in page
        assert all(javascript.update(RULES[rule], coupling) in page for coupling in COUPLINGS.values())

    @pytest.mark.grid(4)
    @pytest.mark.parametrize(
        ("draw", "world", "axis"),
        [
            (silence.draw, Silence(steps=200, strengths=(1e-2,)), "optimizers"),
            (crossover.draw, Selective(seeds=2, weights=2, steps=200, settled=100), "optimizers"),
            (pull.draw, Selectivity(seeds=2, weights=2, steps=500, settled=100), "optimizers"),
            (rest.draw, Rest(seeds=2, weights=2), "optimizers"),
            (minima.draw, Quadratic(steps=1_000), "optimizers"),
            (equilibrium.draw, Noise(seeds=2, weights=64, steps=600, settled=200), "optimizers"),
        ],
        ids=lambda x: getattr(x, "__module__", ""),
    )
    def test_figures_in_a_colour_and_by_a_label_of_its_own(self, rule: str, draw: Any, world: Any, axis: str) -> None:
        names = ("sgd", "momentum", "adam", "rmsprop", rule)
        drawn: Picture = draw(replace(world, **{axis: names}).run())
        drawn.figure.draw_without_rendering()
        assert any(RULES[rule].label in t.get_text() for axes in drawn.figure.axes for t in axes.findobj(plt.Text))
        assert colour_of(rule) not in {colour_of(name) for name in names[:-1]}


@pytest.mark.usefixtures("loaded")
def test_its_stability_line_is_true() -> None:
    found = explain(make("averaged", "l2", strength=0.1))
    assert found.stability is not None
    assert found.stability.scale == ""
    assert found.stability.without_gradient == pytest.approx(2 * 1.9 / (0.1 * 0.1))
    limit = found.stability.without_gradient
    for lr, settles in ((0.95 * limit, True), (1.05 * limit, False)):
        path = simulate("averaged", "l2", record=[4_000], lanes={"lr": lr, "strength": 0.1})
        assert (abs(path.w[0, 0]) < 1e-3) == settles
    steps = explain(make("signum", "l2", strength=0.1))
    assert (steps.stability, steps.library, steps.differs) == (None, "", "")
    assert steps.no_limit.startswith("no limit: its steps do not grow")


@pytest.mark.usefixtures("loaded")
def test_it_converts_and_says_what_it_is() -> None:
    # A mean of gradients passes on as much pull as it takes in: SGD's strength at the same lr.
    found = convert(parse("averaged lr=0.1 l2=1e-3"), parse_target("sgd lr=0.1"), Gradients(0.01))
    assert found.strength == pytest.approx(1e-3, rel=0.02)
    assert [(RULES[name].adaptive, RULES[name].label) for name in OWN] == [(True, "Signum"), (False, "averaged")]
    assert tuple(RULES) == (*BUILT_IN, *OWN)
    with pytest.raises(InputError, match=r"fading 1\.0 is out of range"):
        parse("signum fading=1")


def test_processes_know_it_and_results_are_kept_under_its_file(loaded: Path) -> None:
    assert load_rules(loaded) == load_rules(str(loaded)) == tuple(RULES[name] for name in OWN)  # once
    world = Silence(optimizers=("adam", "averaged"), steps=200, strengths=(1e-2,))
    with processes(workers=1) as pool:
        assert pool.submit(world.run).result()["optimizer"].values.tolist() == ["adam", "averaged"]
    spec, other = {"rules": ["averaged"]}, {"rules": ["adam"]}
    keys = key_of("silence", spec), key_of("silence", other)
    rules._own[loaded.resolve()] = "another digest", rules._own[loaded.resolve()][1]
    assert key_of("silence", spec) != keys[0]
    assert key_of("silence", other) == keys[1]


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "signum l2=0.1 fading=0.5"], ["w <- w - eta*sign(", "no limit: its steps"]),
        (["explain", "averaged", "--l2", "0.1"], ["eta < (2 + 2*fading)/((1 - fading)*(h + lambda))"]),
        (
            ["convert", "--from", "averaged lr=.1 l2=1e-3", "--to", "sgd lr=.1", "--gradient-rms", "1"],
            ["times that to be matched"],
        ),
    ],
)
def test_the_command_line(file: Path, arguments: list[str], words: list[str]) -> None:
    refused(run(*arguments), "is unknown")  # without the file
    said = run(*arguments, "--rules", file)
    assert (said.status, said.err) == (0, "")
    for word in words:
        assert word in said.out


@pytest.mark.usefixtures("forgotten")
def test_a_world_is_reproduced_beside_own_rules(file: Path, tmp_path: Path) -> None:
    said = command("reproduce", "--only", "silence", "--out", tmp_path, "--rules", file)
    assert said.status == 0, said.err
    assert (tmp_path / "report.html").exists()
    # `run` has the rule take part; without the file its name is refused.
    constants = ("--set", "optimizers=adam,averaged", "--set", "steps=200", "--json")
    refused(run("run", "silence", *constants), "averaged")
    assert run("run", "silence", *constants, "--rules", file).status == 0


HEAD = "from dynamics.rule import Rule\nfrom dynamics.words import *\nimport math\n"
SGD = "def _step(w, g, lr): return (w - lr * g,)\nr = "
STEP = 'Rule("mine", _step, (), {}, {}, 0.1)'
REFUSED = {
    "no rule": ("x = 1", ["no rule stands in it"]),
    "no Python": ("def", ["line 1", "invalid syntax"]),
    "it raises": ("1 / 0", ["cannot be run", "ZeroDivisionError"]),
    "it exits": ("raise SystemExit(0)", ["cannot be run", "SystemExit: 0"]),
    "taken": (HEAD + SGD + STEP.replace("mine", "adam"), ["'adam' is taken"]),
    "no name": (HEAD + SGD + STEP.replace("mine", "My Own"), ["'My Own'"]),
    "arguments": (HEAD + "def _step(g, w, lr): return (w - lr * g,)\nr = " + STEP, ["must take w, g, lr"]),
    "too few results": (
        HEAD + "def _step(w, g, m, lr): return (w - lr * g,)\nr = " + STEP.replace("()", '("m",)'),
        ["step of mine", "must return w, m"],
    ),
    "other words": (HEAD + "def _step(w, g, lr): return (w - lr * math.sqrt(g * g),)\nr = " + STEP, ["'math'", "words"]),
    "if": (HEAD + "def _step(w, g, lr): return (w - lr * (1 if g > 0 else -1),)\nr = " + STEP, ["step of mine"]),
    "no range": (
        HEAD + "def _step(w, g, lr, q): return (w - lr * g / q,)\nr = " + STEP.replace("{}, 0.1", '{"q": 2.0}, 0.1'),
        ["what q may be", "ranges"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_used_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    text, words = REFUSED[name]
    path, known = tmp_path / "bad.py", dict(RULES)
    refused(run("convert", "--rules", path), "bad.py", "cannot be read")
    path.write_text(text)
    refused(run("explain", "adam", "--rules", path), "bad.py", *words)
    assert dict(RULES) == known
    assert "q" not in RANGES

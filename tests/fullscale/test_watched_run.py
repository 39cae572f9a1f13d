"""A watched run: the same run as an unwatched one, and what it tells of every filter is what one computes by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from monitored import batch, small
from numpy.typing import NDArray
from shades import shades, spec
from torch import nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from fullscale.measure import measure
from fullscale.spec import RunSpec, together_key
from fullscale.sweep import as_row
from fullscale.train import train
from fullscale.watched import run as module
from fullscale.watched.run import COLUMNS, Watch

IMAGES = shades()
SPEC = spec(IMAGES, schedule="step", epochs=4, measure_every=3)
LAYERS = [4, 5]


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize(
    ("optimizer", "coupling"), [("adam", "l2"), ("rmsprop_centered", "decoupled_lr"), ("schedule_free", "l2")]
)
def test_a_watched_run_is_the_same_to_the_last_bit(optimizer: str, coupling: str) -> None:
    asked = replace(SPEC, optimizer=optimizer, coupling=coupling)
    plain, watched = train(asked, IMAGES), train(replace(asked, watch=True), IMAGES)
    assert watched.curves == plain.curves
    for name, tensor in plain.net.state_dict().items():
        assert torch.equal(tensor, watched.net.state_dict()[name]), name
    assert not plain.filters
    assert {*watched.filters} == {*COLUMNS, "layers", "epochs", "dead_by_activation", "dead_by_scale", "deaths"}


def test_the_row_of_a_watched_run_is_plain_data_of_every_filter_at_every_measured_epoch() -> None:
    outcome = train(replace(SPEC, watch=True), IMAGES)
    found = json.loads(json.dumps(as_row(outcome), allow_nan=False))["curves"]["filters"]
    filters = sum(found["layers"])
    assert (tuple(found["layers"]), found["epochs"]) == (outcome.net.config.channels, [3, 4])
    assert {np.shape(found[name]) for name in COLUMNS} == {(2, filters)}
    share = np.array([found["share_gamma"], found["share_weights"], found["arrival"]], dtype=float)
    assert 0 < share.min() < share.max() <= 1
    # The end is that of the whole training set, as the summary has it.
    for measure_ in ("activation", "scale"):
        assert np.mean(found[f"dead_by_{measure_}"]) == outcome.summary[f"inactive_by_{measure_}"]
    assert "filters" not in as_row(train(SPEC, IMAGES))["curves"]


class ByHand:
    """Gradients and weights of every step in float64, and the two parts of every update by the textbook's formulas."""

    def __init__(self, net: nn.Module, asked: RunSpec) -> None:
        conv, norm = net[0], net[1]
        self.params: dict[str, torch.Tensor] = {"gamma": norm.weight, "beta": norm.bias, "weights": conv.weight}
        self.spec, self.t = asked, 0
        self.buffers = {name: np.zeros((3, *p.shape)) for name, p in self.params.items()}
        self.parts: list[dict[str, NDArray[np.float64]]] = []

    def __call__(self, optimizer: Any, *_: Any) -> None:
        self.t += 1
        lr, strength, seen = optimizer.param_groups[0]["lr"], self.spec.strength, {}
        for name, p in self.params.items():
            w, g = (x.detach().double().numpy() for x in (p, p.grad))
            if self.spec.optimizer == "sgd":
                loss, pull, size = -lr * g, -lr * strength * w, np.full_like(g, np.nan)
            else:
                of_loss, of_pull, v = self.buffers[name]
                of_loss[:] = 0.9 * of_loss + 0.1 * g
                of_pull[:] = 0.9 * of_pull + 0.1 * strength * w
                v[:] = 0.999 * v + 0.001 * (g + strength * w) ** 2
                size = np.sqrt(v)
                under = (np.sqrt(v / (1 - 0.999**self.t)) + 1e-8) * (1 - 0.9**self.t)
                loss, pull = -lr * of_loss / under, -lr * of_pull / under
            rows = [x.reshape(len(x), -1) for x in (abs(loss), abs(pull), g**2, size**2)]
            seen |= dict(zip((f"loss {name}", f"pull {name}", f"square {name}", f"size {name}"), rows, strict=True))
        self.parts.append(seen)

    def columns(self, steps: slice) -> dict[str, NDArray[np.float64]]:
        taken = self.parts[steps]
        found = {}
        for of in ("gamma", "weights"):
            loss, pull, square = (
                sum(part[f"{what} {of}"].mean(axis=1) for part in taken) for what in ("loss", "pull", "square")
            )
            found[f"share_{of}"] = pull / (pull + loss)
            found[f"square_{of}"] = square / len(taken)
            found[f"size_{of}"] = np.sqrt(taken[-1][f"size {of}"].mean(axis=1))
        arrived = [(part["square gamma"] + part["square beta"])[:, 0] > 0 for part in taken]
        return found | {"arrival": np.mean(arrived, axis=0)}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_shares_squares_sizes_and_arrivals_are_those_computed_by_hand(optimizer: str) -> None:
    """The second of two stretches, under another learning rate, of a network one filter of which never fires."""
    net = small()
    with torch.no_grad():
        net[1].bias[2] = -50.0
    asked = RunSpec("", 1.0, optimizer, "l2", lr=1e-2, strength=0.1, batch=8, epochs=2, seed=0, watch=True)
    ours = Optimizer(net.parameters(), optimizer, "l2", lr=asked.lr, weight_decay=asked.strength)
    watch, hand = Watch(net, ours, asked), ByHand(net, asked)
    ours.register_step_pre_hook(hand)
    for step in range(12):
        if step == 5:
            watch.measured(1, measure(net, batch(0)[0]))
            ours.param_groups[0]["lr"] = 1e-3
        x, y = batch(step)
        ours.zero_grad()
        cross_entropy(net(x), y).backward()
        # What the split says comes of the weights is what the optimizer makes of them.
        pieces = [net[1].weight, net[4].weight, net[1].bias, net[4].bias, net[0].weight, net[3].weight]
        before, state = torch.cat([p.detach().flatten() for p in pieces]), watch._state
        done = watch.split(torch.cat([p.grad.flatten() for p in pieces]), ours.param_groups[0]["lr"])
        assert watch._state is state
        ours.step()
        after = torch.cat([p.detach().flatten() for p in pieces])
        torch.testing.assert_close(done.loss + done.pull, after - before, rtol=1e-3, atol=1e-6)
    watch.measured(2, measure(net, batch(0)[0]))
    table = watch.table()
    assert table["layers"] == LAYERS
    for row, steps in enumerate((slice(0, 5), slice(5, 12))):
        for name, expected in hand.columns(steps).items():
            got = np.array(table[name][row][: LAYERS[0]], dtype=float)
            np.testing.assert_allclose(got, expected, rtol=2e-3, err_msg=f"{name} {row}")
    assert [row[2] for row in table["arrival"]] == [0.0, 0.0]
    assert table["share_weights"][0][2] == 1.0


def test_deaths_are_told_as_the_monitor_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 2)
    net = small()
    with torch.no_grad():
        net[1].bias[2] = -50.0
    asked = RunSpec("", 1.0, "adam", "l2", lr=1e-2, strength=0.1, batch=64, epochs=1, seed=0, watch=True)
    ours = Optimizer(net.parameters(), "adam", "l2", lr=asked.lr, weight_decay=asked.strength)
    watch = Watch(net, ours, asked)
    for step in range(12):
        x, y = batch(step, 64)
        ours.zero_grad()
        cross_entropy(net(x), y).backward()
        ours.step()
    watch.measured(1, measure(net, batch(0)[0]))
    assert watch.table()["deaths"] == {"step": [0], "filter": [2], "cause": ["unknown"], "revived": [None]}


@pytest.mark.parametrize(
    "words",
    [{"optimizer": "lars"}, {"optimizer": "adam", "processes": 2}, {"optimizer": "adam", "start": "0" * 64}],
)
def test_what_cannot_be_watched_is_refused_when_it_is_asked_for(words: dict[str, Any]) -> None:
    replace(SPEC, **words)
    with pytest.raises(InputError, match="watch of"):
        replace(SPEC, watch=True, **words)


def test_a_run_that_goes_on_from_a_file_is_not_watched(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="first step"):
        train(replace(SPEC, watch=True), IMAGES, checkpoint=tmp_path / "run.safetensors")
    assert not list(tmp_path.iterdir())


def test_watched_runs_go_alone_and_leave_the_keys_of_others_as_they_were() -> None:
    assert together_key(SPEC) != together_key(replace(SPEC, watch=True)) == ""
    assert "watch" not in SPEC.as_dict()
    assert RunSpec.of(json.loads(json.dumps(replace(SPEC, watch=True).as_dict()))).watch

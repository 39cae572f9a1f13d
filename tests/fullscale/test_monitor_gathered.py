"""What a monitor keeps of every step, against a plain loop that stores all gradients; and of whole sets of images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monitored import adam, batch, seen, small, train
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from fullscale.graph import Unit
from fullscale.measure import measure
from fullscale.monitor import Monitor
from fullscale.monitor import gathered as module
from fullscale.monitor.gathered import Gathered
from fullscale.monitor.record import FIRST, GATHERED, MOST, VARIABLES, Record
from fullscale.monitor.stored import read, write
from fullscale.monitor.watched import Layer, Watched

UNITS = [Unit("1", "relu", nn.ReLU(), "0.weight"), Unit("4", "relu", nn.ReLU(), "3.weight")]
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=1e-2),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=1e-2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
    "maximize": lambda p: torch.optim.Adam(p, lr=1e-4, maximize=True),
    "own": lambda p: Optimizer(p, "adam", "l2", lr=1e-2, weight_decay=1e-2),
}


class Loop:
    """Trains a network of blocks and keeps all gradients, and the optimizer's state before each step."""

    def __init__(self, filters: list[int], norm: bool, make: Callable[[Any], Any], interval: int, passes: int) -> None:
        torch.manual_seed(3)
        layers: list[nn.Module] = []
        for k, (before, after) in enumerate(zip([2, *filters], filters, strict=False)):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=k % 2 == 0)]
            layers += [nn.BatchNorm2d(after), nn.ReLU()] if norm else [nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))
        self.net(batch(0)[0])
        self.optimizer = make(list(self.net.parameters()))
        self.monitor = Monitor(self.net, self.optimizer, interval=interval, example=batch(0)[0])
        self.passes = passes
        self.gradients: list[dict[int, Tensor]] = []
        self.weights: list[dict[int, Tensor]] = []
        self.states: list[dict[int, dict[str, Any]]] = []

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            for k in range(self.passes):
                x, y = batch(10 * len(self.gradients) + k)
                cross_entropy(self.net(x), y).backward()
            params = list(self.net.parameters())
            self.gradients.append({id(p): p.grad.clone() for p in params})  # type: ignore[union-attr]
            self.weights.append({id(p): p.detach().clone() for p in params})
            self.states.append({id(p): copy.deepcopy(dict(self.optimizer.state[p])) for p in params})
            self.optimizer.step()

    def wanted(self, i: int, first: int, last: int, sign: int) -> dict[str, NDArray[Any]]:
        """Of unit i, for a row over the steps from `first` to before `last`."""
        part = self.monitor.watched.parts[i]
        none = torch.full((part.size,), torch.nan)
        of = {}
        for name, p in (("gamma", part.scale), ("beta", part.shift)):
            known = isinstance(p, nn.Parameter)
            g = torch.stack([at[id(p)] for at in self.gradients[first:last]]).double() if known else none[None]
            of[f"mean_{name}"], of[f"square_{name}"] = sign * g.mean(0), g.square().mean(0)
            of[f"came_{name}"] = (g != 0) & ~g.isnan()
        assert part.weight is not None
        w = torch.stack([at[id(part.weight)] for at in self.gradients[first:last]]).double().flatten(2)
        of["mean_weights"] = w.mean(0).square().mean(1).sqrt()
        of["square_weights"] = w.square().mean((0, 2))
        came = of.pop("came_gamma") | of.pop("came_beta")
        light = isinstance(part.scale, nn.Parameter) or isinstance(part.shift, nn.Parameter)
        of["arrival"] = (came if light else (w != 0).any(2)).double().mean(0)
        of["norm"] = self.weights[last - 1][id(part.weight)].flatten(1).norm(dim=1)
        return {name: x.numpy() for name, x in of.items()}


@settings(max_examples=4, deadline=None)
@given(
    filters=st.lists(st.integers(1, 5), min_size=1, max_size=3), norm=st.booleans(), name=st.sampled_from(sorted(OPTIMIZERS)),
    interval=st.integers(1, 7), steps=st.integers(1, 12), passes=st.integers(1, 2), rows=st.sampled_from([1, 3, 64]),
)  # fmt: skip
def test_what_is_gathered_is_what_a_plain_loop_over_all_gradients_finds(
    filters: list[int], norm: bool, name: str, interval: int, steps: int, passes: int, rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", rows)
        loop = Loop(filters, norm, OPTIMIZERS[name], interval, passes)
        loop.train(steps)
    history = loop.monitor.history
    ends = history.step.values
    assert ends.tolist() == list(range(0, steps, interval))
    assert history.over.values.tolist() == [1, *np.diff(ends)]
    layers = list(dict.fromkeys(history.layer.values))
    for row, end in enumerate(ends):
        for i, layer in enumerate(layers):
            own = history.isel(step=row, filter=history.layer.values == layer)
            first = 0 if row == 0 else ends[row - 1] + 1
            wanted = loop.wanted(i, first, end + 1, -1 if name == "maximize" else 1)
            for variable, values in wanted.items():
                np.testing.assert_allclose(own[variable], values, rtol=1e-4, atol=1e-9, err_msg=variable)
    loop.monitor.close()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_gradients_of_any_kind_are_summed_up_and_go_through_a_state(data: st.DataObject) -> None:
    """Filters along another axis, in other layouts and precisions, without scale, shift or weights, and steps without gradients,
    in pieces that are taken up by others."""
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    watched, params = Watched(), []
    for i in range(data.draw(st.integers(1, 3))):
        size, axis = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 1))
        shape = (size, 3, 2, 2) if axis == 0 else (3, size, 2, 2)
        layout = data.draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
        has = [data.draw(st.booleans()) for _ in range(3)]
        scale, shift = (nn.Parameter(torch.ones(size, dtype=dtype)) if h else torch.ones(size) for h in has[:2])
        weight = nn.Parameter(torch.ones(shape, dtype=dtype).contiguous(memory_format=layout)) if has[2] else None
        watched.parts.append(Layer(Unit(str(i), "relu", nn.ReLU(), ""), scale, shift, (), weight, axis))
        params += [p for p in (scale, shift, weight) if isinstance(p, nn.Parameter)]
    optimizer = torch.optim.SGD([*params, nn.Parameter(torch.ones(1))], maximize=data.draw(st.booleans()))
    gathered = Gathered(watched)
    gathered._rows = min(gathered._rows, data.draw(st.integers(1, 5)))
    steps = data.draw(st.integers(1, 8))
    seen: dict[int, list[Tensor]] = {id(p): [] for p in params}
    for _ in range(steps):
        for p in params:
            p.grad = None
            if data.draw(st.booleans()):
                g = torch.empty_like(p).normal_(generator=generator)
                p.grad = g * (torch.rand(g.shape, generator=generator) < 0.5)
            seen[id(p)].append(torch.zeros(p.shape, dtype=torch.double) if p.grad is None else p.grad.double())
        with torch.no_grad():
            assert gathered.add(optimizer) == all(p.grad is not None for p in params)
        if data.draw(st.booleans()):
            again = Gathered(watched)
            again._rows = gathered._rows
            assert again.fits(gathered.state())
            again.take(gathered.state())
            gathered = again
    found = gathered.columns(optimizer)
    for i, part in enumerate(watched.parts):
        came = torch.zeros(steps, part.size, dtype=torch.bool)
        for name, p in (("gamma", part.scale), ("beta", part.shift)):
            if not isinstance(p, nn.Parameter) or not torch.stack(seen[id(p)]).any():
                continue
            g = torch.stack(seen[id(p)])
            came |= g != 0
            sign = -1 if optimizer.param_groups[0]["maximize"] else 1
            torch.testing.assert_close(found[f"mean_{name}"][i].double(), sign * g.mean(0), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(found[f"square_{name}"][i].double(), g.square().mean(0), rtol=1e-5, atol=1e-6)
        if part.weight is not None and torch.stack(seen[id(part.weight)]).any():
            w = torch.stack(seen[id(part.weight)]).movedim(part.axis + 1, 1).flatten(2)
            came |= (w != 0).any(2) & (not any(isinstance(x, nn.Parameter) for x in (part.scale, part.shift)))
            wanted = w.mean(0).square().mean(1).sqrt()
            torch.testing.assert_close(found["mean_weights"][i].double(), wanted, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(
                found["square_weights"][i].double(), w.square().mean((0, 2)), rtol=1e-5, atol=1e-6
            )
        if i in found["arrival"]:
            torch.testing.assert_close(found["arrival"][i].double(), came.double().mean(0), rtol=1e-6, atol=1e-6)
    gathered.clear()
    assert gathered.steps == 0
    assert not any(found for found in gathered.columns(optimizer).values())


def root(name: str, state: dict[str, Any]) -> Any:
    """By hand, from torch's state before a step."""
    if name == "adam":
        return (state["exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))).sqrt()
    if name == "amsgrad":
        return (state["max_exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))).sqrt()
    return state["square_avg"].sqrt() if name == "rmsprop" else None


@pytest.mark.parametrize("name", ["adam", "amsgrad", "momentum", "rmsprop"])
def test_the_state_of_the_optimizer_is_that_before_the_step(name: str) -> None:
    loop = Loop([3, 4], True, OPTIMIZERS[name], 2, 1)
    loop.train(5)
    history = loop.monitor.history
    moment = {"adam": "exp_avg", "amsgrad": "exp_avg", "momentum": "momentum_buffer", "rmsprop": ""}[name]
    for row, step in ((1, 2), (2, 4)):
        for what, of in (("gamma", "scale"), ("beta", "shift"), ("weights", "weight")):
            states = [loop.states[step][id(getattr(part, of))] for part in loop.monitor.watched.parts]
            roots = [root(name, state) for state in states]
            found = history[f"root_{what}"][row].values
            if roots[0] is None:
                assert np.isnan(found).all()
            else:
                wanted = torch.cat([x.square().flatten(1).mean(1).sqrt() if x.ndim > 1 else x for x in roots])
                np.testing.assert_allclose(found, wanted, rtol=1e-5)
            if what != "weights":
                found = history[f"moment_{what}"][row].values
                assert np.isnan(found).all() if not moment else found.any()
                if moment:
                    np.testing.assert_allclose(found, torch.cat([state[moment] for state in states]), rtol=1e-6)
    first = history.isel(step=0)
    assert first["root_gamma"].isnull().all() == (name != "rmsprop")
    for what in ("gamma", "beta"):
        assert np.isfinite(history[f"pull_{what}"]).all()
    loop.monitor.close()


def test_a_resume_between_observations_gives_the_same_to_the_last_bit(tmp_path: Path) -> None:
    straight = seen(20, 6)
    for stop in (8, 12, 17):
        net = small()
        optimizer = adam(net)
        monitor = Monitor(net, optimizer, interval=6)
        train(net, optimizer, range(stop))
        monitor.measure(batch(0)[0])
        write(tmp_path / "state", monitor.state_dict())
        kept = [copy.deepcopy(x.state_dict()) for x in (net, optimizer)]
        net = small()
        optimizer = adam(net)
        monitor = Monitor(net, optimizer, interval=6)
        for part, state in zip((net, optimizer), kept, strict=True):
            part.load_state_dict(state)
        monitor.load_state_dict(read(tmp_path / "state"))
        train(net, optimizer, range(stop, 20))
        assert monitor.history.measured.values.tolist() == [stop]
        own = monitor.history.isel(measured=[])
        assert own.identical(straight.history)


def test_a_state_of_the_first_version_is_taken_with_nan_for_what_it_has_not() -> None:
    net = small()
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, units=UNITS, interval=2)
    train(net, optimizer, range(5))
    state = monitor.state_dict()
    for name in ("gathered", "measured"):
        del state[name]
    for name in ("over", "waiting", "waiting_over"):
        del state["record"][name]
    state["record"]["rows"] = {name: state["record"]["rows"][name] for name in FIRST}
    again = Monitor(net, optimizer, units=UNITS)
    again.load_state_dict(state)
    monitor.close()
    train(net, optimizer, range(5, 9))
    history = again.history
    assert history.step.values.tolist() == [0, 2, 4, 6, 8]
    assert history.over.values.tolist() == [0, 0, 0, 2, 2]
    for name in VARIABLES.keys() - FIRST.keys():
        assert history[name][:3].isnull().all()
    for name in GATHERED:
        assert np.isfinite(history[name][3:]).all() == (name not in ("mean_weights", "square_weights"))
    with pytest.raises(InputError, match="gathered"):
        again.load_state_dict({k: x for k, x in again.state_dict().items() if k != "gathered"})


def test_dropped_rows_go_into_the_next() -> None:
    """Any number of observations: sums of mean times steps stay those of all observations up to the last row."""
    draws = np.random.default_rng(0)
    record, means, over = Record(2), [], []
    for i in range(2 * MOST + 700):
        values = {name: draws.uniform(0.5, 1, 2).astype(np.float32) for name in VARIABLES}
        values["square_beta"][1] = np.nan
        steps = int(draws.integers(1, 9))
        record.add(i, values, steps)
        means.append({name: values[name] for name in GATHERED})
        over.append(steps)
    ends = [0, *(record.steps + 1)]
    for row, (first, last) in enumerate(pairwise(ends)):
        weights = np.array(over[first:last], dtype=float)
        assert record.over[row] == weights.sum()
        for name in GATHERED:
            power = 2 if name == "mean_weights" else 1
            values = np.stack([m[name] for m in means[first:last]]).astype(float) ** power
            wanted = ((weights[:, None] * values).sum(0) / weights.sum()) ** (1 / power)
            np.testing.assert_allclose(record.rows(name)[row], wanted, rtol=1e-5)


def test_what_has_no_gradient_is_nan_and_a_step_without_counts_as_one_of_0() -> None:
    net = small()
    net[1].requires_grad_(False)
    optimizer = adam(net)
    monitor = Monitor(net, optimizer, units=UNITS, interval=2)
    train(net, optimizer, range(2))
    net[4].weight.requires_grad_(False)
    net[4].weight.grad = None
    train(net, optimizer, range(2, 3))
    history = monitor.history
    for name in ("mean_gamma", "square_gamma", "mean_beta", "square_beta"):
        assert history[name][:, :4].isnull().all()
        assert np.isfinite(history[name][:, 4:]).all()
    assert (history["arrival"][:, :4] == 0).all()
    assert (history["arrival"][:, 4:] == 1).all()
    monitor.close()


def test_a_scaled_loss_is_seen_as_the_fused_step_sees_it_and_steps_left_out_are_not_gathered() -> None:
    found = []
    for scale in (None, 1024.0):
        net = small()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, fused=True)
        monitor = Monitor(net, optimizer, units=UNITS, interval=3)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, growth_interval=1000, enabled=scale is not None)
        for step in [0, 1, *([99] if scale else []), 2, 3]:
            x, y = batch(step)
            optimizer.zero_grad()
            scaler.scale(cross_entropy(net(x), y) * (float("inf") if step == 99 else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append(monitor.history)
        monitor.close()
    for name in GATHERED:
        np.testing.assert_allclose(found[0][name][0], found[1][name][0], rtol=1e-4, atol=1e-8)
    assert [x.over.values.tolist() for x in found] == [[1, 3], [1, 3]]


def test_measure_sees_all_images_and_changes_nothing() -> None:
    """Against `fullscale.measure.measure`, and training goes on as without it."""
    ends = []
    x = torch.cat([batch(k)[0] for k in range(4)])
    for how in (None, x, [x[:5], x[5:]]):
        net = small()
        optimizer = adam(net)
        monitor = Monitor(net, optimizer, interval=3)
        train(net, optimizer, range(4))
        if how is not None:
            net[1].eval()
            state, random = copy.deepcopy(net.state_dict()), torch.random.get_rng_state()
            monitor.measure(how)
            assert torch.equal(torch.random.get_rng_state(), random)
            assert [m.training for m in net] == [True, False, *[True] * 6]
            assert all(torch.equal(a, b) for a, b in zip(state.values(), net.state_dict().values(), strict=True))
            wanted, of = measure(net, x), monitor.history.isel(measured=0)
            assert monitor.history.measured.values.tolist() == [4]
            np.testing.assert_allclose(of.measured_peak, torch.cat(wanted.peak), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(of.measured_selectivity, torch.cat(wanted.selectivity))
            np.testing.assert_allclose(np.maximum(of.measured_margin, 0), of.measured_peak)
            net[1].train()
        train(net, optimizer, range(4, 8))
        ends.append((net.state_dict(), monitor.history.isel(measured=[])))
        monitor.close()
    for state, history in ends[1:]:
        assert history.identical(ends[0][1])
        assert all(torch.equal(a, b) for a, b in zip(state.values(), ends[0][0].values(), strict=True))


@pytest.mark.parametrize("images", [None, 3, "x", [], torch.ones(2, 3), [torch.ones(2, 3)], object()])
def test_what_cannot_be_measured_is_refused(images: Any) -> None:
    net = small()
    monitor = Monitor(net, adam(net), units=UNITS)
    with pytest.raises(InputError) as told:
        monitor.measure(images)
    assert "\n" not in str(told.value)
    assert net.training
    assert not any(m._forward_hooks for m in (net[0], net[2]))
    with pytest.raises(InputError, match="no filters are found yet"):
        Monitor(net, adam(net)).measure(batch(0)[0])

"""The probe: right optimizers are named and not accused, planted faults are found, and nobody's weights are touched."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from docs import others
from docs.fill import read
from docs.planted import NOTED, PLANTED, AdamW
from docs.probed import PROBED, right
from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.probe import probe
from dynamics.probe.claims import claims_of
from dynamics.probe.drive import decay_drives, update_drive
from dynamics.probe.fit import Seen, fit
from dynamics.probe.follow import candidate, path, plain
from dynamics.rules import RULES
from undertow.testing.strategies import hyperparameters, rates, strengths

# One of each kind; all of them are in docs/probed.json, which python -m docs.probed writes.
SOME = (
    "AdamW whose decay is L2 in the gradient",
    "a decay multiplied by lr twice",
    "v without its bias correction",
    "maximize turns the decay round",
    "Lion, coupled in 32 bits and decoupled in 16",
    "a mask the wrong way round",
)


def path_of(make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer], drive: Any, lr: float) -> Seen:
    p = torch.nn.Parameter(torch.tensor(drive.start))
    optimizer, rows = make([p]), []
    for g, multiplier in zip(drive.gradients, drive.multipliers, strict=True):
        p.grad = torch.tensor(g)
        optimizer.param_groups[0]["lr"] = lr * drive.base * float(multiplier)
        optimizer.step()
        rows.append(p.detach().numpy().copy())
        if drive.pinned:
            with torch.no_grad():
                p.copy_(torch.tensor(drive.start))
    return Seen(drive, np.array(rows))


@pytest.mark.parametrize("rule", ["nesterov", "adam", "adadelta"])
@given(data=st.data())
@settings(max_examples=2)
def test_hyperparameters_come_back_from_behaviour_alone(rule: str, data: st.DataObject) -> None:
    lr, hyper = data.draw(rates), data.draw(hyperparameters(rule))
    hyper = {**hyper, **({"eps": 1e-8} if "eps" in hyper else {})}
    spelled = {name: value for name, value in hyper.items() if not name.startswith("beta")}
    betas = tuple(value for name, value in hyper.items() if name.startswith("beta"))
    spelled |= {"betas": betas} if betas else {}
    seen = path_of(lambda p: Optimizer(p, rule, lr=lr, **spelled), update_drive(1, False), lr)
    of = plain(RULES[rule])
    found = fit(of, [seen], {}, of.names)
    assert found.off < 1e-9
    for name, value in {"lr": lr, **hyper}.items():
        assert found.values[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("coupling", ["l2", "decoupled_schedule", "corrected"])
@given(strength=strengths)
@settings(max_examples=1)
def test_a_strength_comes_back_and_no_other_coupling_fits(coupling: str, strength: float) -> None:
    drives = decay_drives(1, False, (1.0, 3.0))
    values = {"lr": np.array([0.01]), "beta1": np.array([0.9]), "beta2": np.array([0.99]), "eps": np.array([1e-8])}
    seen = []
    for drive in drives:
        rows = path(candidate(RULES["adam"], COUPLINGS[coupling]), drive, {**values, "strength": np.array([strength])})
        seen.append(Seen(drive, rows[:, 0]))
    known = {name: float(value[0]) for name, value in values.items()}
    off = {
        name: fit(candidate(RULES["adam"], way), seen, known, ("strength",) if name != "none" else ())
        for name, way in COUPLINGS.items()
    }
    assert off[coupling].off < 1e-9
    assert off[coupling].values["strength"] == pytest.approx(strength, rel=1e-6)
    assert min(found.off for name, found in off.items() if name != coupling) > 1e-6


@pytest.mark.parametrize(
    "name",
    [
        "torch.optim.SGD(nesterov=True)",
        "torch.optim.AdamW",
        "schedulefree.AdamWScheduleFree",
        "pytorch_optimizer.Lion(weight_decouple=False)",
    ],
)
def test_a_right_optimizer_is_named_and_not_accused(name: str) -> None:
    make, rule, coupling = next(of for of_name, *of in right() if of_name == name)
    found = probe(make)
    assert {(answer.rule, answer.coupling, answer.found) for answer in found.answers} == {(rule, coupling, True)}
    assert found.wrong == ()


@pytest.mark.parametrize("planted", [p for p in PLANTED if p.fault in SOME], ids=lambda p: p.fault)
def test_a_planted_fault_is_found_and_said_in_one_line(planted: Any) -> None:
    assert any(planted.says in line for line in probe(planted.make).wrong)


@pytest.mark.parametrize("planted", NOTED, ids=lambda p: p.fault)
def test_what_is_good_to_know_is_no_accusation(planted: Any) -> None:
    found = probe(planted.make)
    assert any(planted.says in finding.said for finding in found.findings)
    assert found.wrong == ()


def test_the_stored_table_has_all_that_is_planted_and_no_false_alarm() -> None:
    kept = read(PROBED)
    assert {e["fault"] for e in kept["planted"]} == {p.fault for p in PLANTED}
    says = {p.fault: p.says for p in (*PLANTED, *NOTED)}
    assert [e for e in (*kept["planted"], *kept["noted"]) if says[e["fault"]] not in e["line"]] == []
    assert [e["name"] for e in kept["right"] if e["wrong"] or not e["named"]] == []
    names = [name for name, *_ in right()]
    assert [e["name"] for e in kept["right"]] == [*names, *(other.kind for other in others.RIGHT)]
    assert [e["name"] for e in kept["differing"]] == [other.kind for other in others.DIFFERING]
    assert all(other.says in e["line"] for other, e in zip(others.DIFFERING, kept["differing"], strict=True))


def test_an_optimizer_in_use_stays_as_it_is() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    optimizer = torch.optim.AdamW(
        [
            {"params": [net[0].weight], "weight_decay": 0.1},
            {"params": [*net[1].parameters(), net[0].bias], "weight_decay": 0.0},
        ],
        lr=2e-3,
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for _ in range(3):
        net(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
        scheduler.step()
    weights, state = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    found = probe(optimizer)
    assert all(torch.equal(weights[name], p) for name, p in net.state_dict().items())
    assert str(optimizer.state_dict()) == str(state)
    assert [(a.group, a.coupling, a.values.get("strength", 0.0)) for a in found.answers if a.parameter == "2-D"] == [
        (0, "decoupled_lr", pytest.approx(0.1))
    ]
    assert all(a.values.get("strength", 0.0) == 0.0 for a in found.answers if a.group == 1)
    assert all(a.values["lr"] == pytest.approx(2e-3) for a in found.answers)
    assert found.wrong == ()


def test_a_network_is_probed_part_by_part() -> None:
    def make(net: torch.nn.Module) -> torch.optim.Optimizer:
        light = [p for name, p in net.named_parameters() if p.ndim < 2]
        rest = [p for name, p in net.named_parameters() if p.ndim >= 2]
        return torch.optim.AdamW([{"params": rest, "weight_decay": 0.1}, {"params": light, "weight_decay": 0.0}])

    found = probe(make)
    on = {a.parameter for a in found.answers if a.values.get("strength")}
    assert on == {"embedding.weight", "conv.weight", "linear.weight"}
    assert found.wrong == ()
    assert json.loads(json.dumps(found.as_dict()))["wrong"] == []


class Wrapper:
    """Something with a step that is no torch optimizer."""

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        self.inner = torch.optim.SGD(parameters, lr=0.1)

    def step(self, closure: Callable[[], float]) -> None:
        closure()
        self.inner.step()


def test_anything_with_a_step_is_probed() -> None:
    found = probe(Wrapper)
    assert (found.answers[0].rule, found.answers[0].coupling) == ("sgd", "none")
    assert found.answers[0].values["lr"] == pytest.approx(0.1)


class Narrow(torch.optim.Optimizer):
    """AdamW computed in float32, whatever the weights' type, as those in compiled code are."""

    def __init__(
        self, parameters: Any, lr: float = 1e-3, eps: float = 1e-8, weight_decay: float = 0.1, inside: bool = False
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.99), "eps": eps, "weight_decay": weight_decay})
        self.inside = inside

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            (beta1, beta2), lr, eps = group["betas"], group["lr"], group["eps"]
            for p in (p for p in group["params"] if p.grad is not None):
                g, w, state = p.grad.float(), p.float(), self.state[p]
                m = state["m"] = beta1 * state.get("m", 0 * g) + (1 - beta1) * g
                v = state["v"] = beta2 * state.get("v", 0 * g) + (1 - beta2) * g * g
                t = state["t"] = state.get("t", 0) + 1
                v = v / (1 - beta2**t)
                root = (v + eps).sqrt() if self.inside else v.sqrt() + eps
                p.copy_((1 - lr * group["weight_decay"]) * w - lr * m / (1 - beta1**t) / root)


class NarrowAdamW(Narrow):
    pass


def test_what_computes_in_float32_is_named_as_exactly_as_that_allows() -> None:
    found = probe(NarrowAdamW)
    assert {(a.rule, a.coupling, a.found) for a in found.answers} == {("adam", "decoupled_lr", True)}
    assert found.wrong == ()
    assert any("computes in float32" in finding.said for finding in found.findings)
    assert found.answers[0].values["eps"] == 1e-8
    (line,) = probe(lambda p: NarrowAdamW(p, inside=True)).wrong
    assert "eps inside the root" in line


def test_couplings_that_are_one_are_called_as_the_name_says() -> None:
    class SGDW(torch.optim.SGD):
        """Of plain SGD L2 and decay x lr are the same."""

    assert [
        (a.coupling, p.wrong)
        for p in (probe(SGDW), probe(lambda p: SGDW(p, lr=0.1, weight_decay=0.1)))
        for a in p.answers[:1]
    ] == [("none", ()), ("decoupled_lr", ())]


def test_parameters_that_a_factory_leaves_out_are_not_spoken_of() -> None:
    found = probe(lambda parameters: torch.optim.SGD([p for p in parameters if p.ndim == 1], lr=0.1, weight_decay=0.1))
    assert [a.parameter for a in found.answers] == ["1-D"]
    assert found.wrong == ()
    with pytest.raises(InputError, match="none of the parameters"):
        probe(lambda parameters: torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1))


def test_a_flag_of_the_whole_optimizer_is_a_claim() -> None:
    class AdaBelief(Optimizer):
        def __init__(self, parameters: Any, coupling: str) -> None:
            super().__init__(parameters, "adabelief", coupling, weight_decay=0.1)
            self._weight_decouple = coupling == "decoupled_lr"

    assert [probe(lambda p, c=c: AdaBelief(p, c)).wrong for c in ("l2", "decoupled_lr")] == [(), ()]


def test_claims_are_read_from_names_and_flags() -> None:
    assert claims_of("x.FusedAdamW", {}).coupling == "decoupled_lr"
    assert claims_of("x.FusedAdam", {}).coupling == "l2"
    assert claims_of("x.Adam", {"decoupled_weight_decay": True}).coupling == "decoupled_lr"
    assert claims_of("torch.SGD", {"momentum": 0.9, "nesterov": True}).rule == "nesterov"
    assert claims_of("torch.SGD", {"momentum": 0.9, "nesterov": False}).rule == "momentum"
    assert claims_of("timm.NAdamW", {}).rule == "nadam"
    assert claims_of("x.Sophia", {}).rule == ""
    assert claims_of("timm.AdaBelief", {"rectify": True, "foreach": True}).variants == ("rectify=True",)
    assert claims_of("x.SGD", {"lr": 0.1}).allows("momentum")
    assert not claims_of("x.SGD", {"lr": 0.1, "momentum": 0.0}).allows("momentum")
    assert claims_of("optax.<lambda>", {}).rule == ""


def _raises(parameters: Any) -> Any:
    raise ValueError("no such thing")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "optimizer 3: an optimizer, a function"),
        (None, "optimizer None"),
        (lambda: None, "a function without arguments"),
        (lambda parameters: 5, "the factory made 5"),
        (_raises, "raises ValueError ('no such thing')"),
        (torch.nn.Linear, "Linear"),
    ],
)
def test_what_is_no_optimizer_is_refused_in_one_line(given: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        probe(given)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_optimizer_whose_step_was_replaced_is_not_stepped() -> None:
    p = torch.nn.Parameter(torch.ones(3))
    optimizer = AdamW([p])
    optimizer.step = lambda closure=None: p.data.zero_()  # type: ignore[method-assign, assignment]
    with pytest.raises(InputError, match="whose step was replaced"):
        probe(optimizer)
    assert (p == 1).all()

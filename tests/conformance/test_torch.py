"""Each rule with its coupling is torch's optimizer of that name: on every path, and in every use of an optimizer."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from conformance.libraries import TORCH, torchs
from conformance.oracle import TOLERANCE, difference, gradients, scalars, spelled
from torch.optim import lr_scheduler as schedulers

from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from dynamics.rules import RULES

# For what does not depend on the rule: one without a clock and with L2, one with a clock and with decay.
FEW = [("momentum", "l2"), ("adam", "decoupled_lr")]
# A setting of each rule for the tests about use rather than numbers.
_SETTING = {
    "momentum": 0.8,
    "alpha": 0.95,
    "rho": 0.95,
    "beta1": 0.8,
    "beta2": 0.97,
    "beta3": 0.96,
    "momentum_decay": 0.01,
    "initial_accumulator": 0.1,
    "trust": 0.02,
    "eps": 1e-6,
}
HYPER: dict[str, dict[str, Any]] = {
    name: spelled({field: _SETTING[field] for field in rule.defaults}) for name, rule in RULES.items()
}

Make = Callable[[Any], torch.optim.Optimizer]


def both(rule: str, coupling: str, **settings: Any) -> tuple[Make, Make]:
    """Makers of ours and of torch's optimizer with equal settings."""
    kind, extra = TORCH[rule, coupling]
    settings = {"lr": 0.05, "weight_decay": 0.1, **HYPER[rule], **settings}
    return lambda p: Optimizer(p, rule, coupling, **settings), lambda p: kind(p, **torchs(settings), **extra)


@pytest.fixture(autouse=True, scope="module")
def _exact_scalars() -> Iterator[None]:
    with scalars(torch.float64):
        yield


def weights(*values: list[float], rule: str = "", dtype: torch.dtype = torch.float64) -> list[torch.nn.Parameter]:
    """Parameters with these values; for a rule of matrices as matrices of one row."""
    rows = [torch.tensor(v, dtype=dtype) for v in values]
    matrices = rule in RULES and RULES[rule].unit == "matrix"
    return [torch.nn.Parameter(row[None] if matrices else row) for row in rows]


def run(optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], given: torch.Tensor) -> torch.Tensor:
    """Step on the given gradients (steps, size), cut among the parameters in order; the final weights as one row."""
    sizes = [p.numel() for p in parameters]
    for row in given:
        for p, part in zip(parameters, row.split(sizes), strict=True):
            p.grad = part.clone().view_as(p)
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in parameters])


@pytest.mark.parametrize(("rule", "coupling"), FEW)
def test_parameter_groups_differ_in_lr_and_decay(rule: str, coupling: str) -> None:
    ends = []
    for make in both(rule, coupling):
        first, second, third = parameters = weights([1.0, -2.0], [0.5], [3.0, 1.0, -1.0])
        groups = [{"params": [first, second], "lr": 0.01}, {"params": [third], "weight_decay": 0.3}]
        ends.append(run(make(groups), parameters, gradients(4)))
    assert difference(*ends) <= TOLERANCE
    assert (
        difference(ends[0], run(both(rule, coupling)[0](p := weights([1.0, -2, 0.5, 3, 1, -1])), p, gradients(4)))
        > 0.01
    )


SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "StepLR": lambda o: schedulers.StepLR(o, step_size=30, gamma=0.5),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, T_max=100),
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda t: 1 / (1 + 0.1 * t)),
    # Of momentum it cycles that too; of Adam not beta1, which ours corrects for as it cycles.
    "OneCycleLR": lambda o: schedulers.OneCycleLR(
        o, max_lr=0.05, total_steps=250, cycle_momentum="momentum" in o.defaults
    ),
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=3, factor=0.5),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers_act_as_on_torchs(scheduler: str) -> None:
    for pair in FEW:
        rows, ends = [], []
        for make in both(*pair):
            (p,) = weights([1.0, -0.5, 2.0])
            optimizer = make([p])
            plan = SCHEDULERS[scheduler](optimizer)
            for t, row in enumerate(gradients(5, size=3)):
                p.grad = row.clone()
                optimizer.step()
                plan.step(*([1.0 if t > 20 else 1 / (t + 1)] if scheduler == "ReduceLROnPlateau" else []))
            rows.append(p.detach())
            ends.append(optimizer.param_groups[0]["lr"])
        assert ends[0] == ends[1] != 0.05
        assert difference(*rows) <= TOLERANCE


def test_bias_correction_stays_exact_where_a_scheduler_cycles_beta1() -> None:
    # Under a constant gradient a mean without bias is that gradient, and Adam's step is lr. Ours divides by
    # 1 - beta1 beta1' beta1'' ..., the weights that the mean has really gathered; torch by 1 - (the latest beta1)^t.
    largest = []
    for make in both("adam", "l2", weight_decay=0.0, eps=0.0):
        (p,) = weights([0.0])
        optimizer = make([p])
        plan = schedulers.OneCycleLR(optimizer, max_lr=0.05, total_steps=50, base_momentum=0.5, max_momentum=0.95)
        errors = []
        for _ in range(40):
            p.grad = torch.ones_like(p)
            before, lr = p.item(), optimizer.param_groups[0]["lr"]
            optimizer.step()
            plan.step()
            errors.append(abs((before - p.item()) / lr - 1))
        largest.append(max(errors))
    ours, torchs = largest
    assert ours < 1e-9
    assert torchs > 0.1


@pytest.mark.parametrize(("rule", "coupling"), FEW)
def test_maximize_flips_the_loss_gradient_and_not_the_decay(rule: str, coupling: str) -> None:
    makers = (*both(rule, coupling, maximize=True), both(rule, coupling)[0])
    ends = [
        run(make(p := weights([1.0, -2.0])), p, sign * gradients(7, size=2))
        for make, sign in zip(makers, (1, 1, -1), strict=True)
    ]
    assert max(difference(ends[0], end) for end in ends[1:]) <= TOLERANCE


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_no_gradient_means_no_decay_but_a_zero_gradient_decays(coupling: str) -> None:
    for rule in RULES if coupling == "l2" else ("sgd", "adam", "lamb", "schedule_free"):
        left, zero = weights([1.0, 2.0], [1.0, 2.0], rule=rule)
        strength = 0.0 if coupling == "none" else 0.1
        optimizer = Optimizer([left, zero], rule, coupling, lr=0.05, weight_decay=strength)
        for _ in range(3):
            zero.grad = torch.zeros_like(zero)
            optimizer.step()
        assert left.flatten().tolist() == [1.0, 2.0]
        assert left not in optimizer.state or not optimizer.state[left]
        assert torch.equal(zero, left) == (coupling == "none")


@pytest.mark.parametrize(("rule", "coupling"), FEW)
def test_parameters_that_join_later_have_their_own_clock(rule: str, coupling: str) -> None:
    ends = []
    for make in both(rule, coupling):
        early, late, later = weights([1.0, -1.0], [2.0, 0.5], [-2.0])
        optimizer = make([early, late])
        for t, row in enumerate(gradients(8, steps=60, size=5)):
            if t == 40:
                optimizer.add_param_group({"params": [later], "lr": 0.01})
            early.grad = row[:2].clone()
            late.grad = row[2:4].clone() if t >= 20 and t % 3 else None
            later.grad = row[4:].clone()
            optimizer.step()
        ends.append(torch.cat([p.detach() for p in (early, late, later)]))
    assert difference(*ends) <= TOLERANCE
    assert ends[0][4] != -2.0


@pytest.mark.parametrize("transport", ["state_dict", "pickle", "deepcopy"])
def test_a_run_that_is_saved_and_loaded_continues_bit_equal(transport: str) -> None:
    for rule, capturable in itertools.product(RULES, (False, True)):
        parameters = weights([1.0, -1.0, 0.5], [2.0, 0.5, 1.0], rule=rule)
        made = {"lr": 0.05, "weight_decay": 0.1, "capturable": capturable, **HYPER[rule]}
        optimizer = Optimizer(parameters, rule, "decoupled_schedule", **made)
        given = gradients(9, steps=40)
        run(optimizer, parameters, given[:20])
        optimizer.param_groups[0]["lr"] = 0.02  # as a scheduler would; base_lr must survive for the decay by schedule

        if transport == "state_dict":
            file = io.BytesIO()
            torch.save(optimizer.state_dict(), file)
            file.seek(0)
            copies = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
            other = Optimizer(copies, rule, "decoupled_schedule")  # with defaults: all settings come from the file
            other.load_state_dict(torch.load(file, weights_only=True))
        elif transport == "pickle":
            copies, other = pickle.loads(pickle.dumps((parameters, optimizer)))
        else:
            copies, other = copy.deepcopy((parameters, optimizer))

        assert torch.equal(run(optimizer, parameters, given[20:]), run(other, copies, given[20:])), rule


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "rule": (lambda: Optimizer(weights([1.0]), "adamw"), "optimizer 'adamw' is unknown: accepted are sgd, momentum"),
    "coupling": (lambda: Optimizer(weights([1.0]), "adam", "wd"), "coupling 'wd' is unknown: accepted are none, l2"),
    "typo": (
        lambda: Optimizer(weights([1.0]), "adam", "l2", beta=0.9),
        "adam takes no 'beta': it takes lr, weight_decay",
    ),
    "decay into nothing": (lambda: Optimizer(weights([1.0]), "adam", weight_decay=0.1), "with coupling none"),
    "lr": (lambda: Optimizer(weights([1.0]), "sgd", lr=-1.0), "lr -1.0 is out of range"),
    "nan": (lambda: Optimizer(weights([1.0]), "sgd", lr=float("nan")), "lr nan is out of range"),
    "strength": (lambda: Optimizer(weights([1.0]), "sgd", "l2", weight_decay=-0.1), "strength -0.1 is out of range"),
    "betas": (lambda: Optimizer(weights([1.0]), "adam", betas=(0.9, 1.0)), "beta2 1.0 is out of range"),
    "one beta": (lambda: Optimizer(weights([1.0]), "adam", betas=(0.9,)), "a pair of numbers"),
    "eps": (lambda: Optimizer(weights([1.0]), "rmsprop", eps="tiny"), "eps 'tiny' is no number"),
    "group": (lambda: Optimizer([{"params": weights([1.0]), "lr": -2.0}], "sgd"), "lr -2.0 is out of range"),
    "decay of a group into nothing": (
        lambda: Optimizer([{"params": weights([1.0]), "weight_decay": 0.3}], "sgd"),
        r"weight_decay 0\.3 with coupling none",
    ),
    "betas that are no pair": (lambda: Optimizer(weights([1.0]), "adam", betas=None), "betas None: a pair of numbers"),
    "two of three betas": (lambda: Optimizer(weights([1.0]), "adan", betas=(0.9, 0.99)), "a triple of numbers"),
    "no matrix": (lambda: Optimizer(weights([1.0]), "muon"), r"parameter of shape \(1,\): muon accepts real matrices"),
    "complex matrix": (
        lambda: Optimizer([torch.ones(3, 2, dtype=torch.complex64, requires_grad=True)], "muon"),
        r"complex parameter of shape \(3, 2\)",
    ),
    "joining group": (
        lambda: Optimizer(weights([1.0]), "momentum").add_param_group({"params": weights([1.0]), "momentum": 1.0}),
        "momentum 1.0 is out of range",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_sparse_gradients_are_refused() -> None:
    table = torch.nn.Embedding(3, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(InputError, match=r"sparse gradient of a parameter of shape \(3, 2\)"):
        Optimizer(table.parameters(), "sgd").step()


def test_a_learning_rate_that_is_a_tensor_follows_its_schedule_too() -> None:
    ends = []
    for lr in (0.1, torch.tensor(0.1, dtype=torch.float64)):
        p = torch.ones(3, dtype=torch.float64, requires_grad=True)
        optimizer = Optimizer([p], "sgd", "decoupled_schedule", lr=lr, weight_decay=0.1)  # type: ignore[arg-type]
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
        for _ in range(3):
            p.grad = torch.zeros_like(p)
            optimizer.step()
            schedule.step()
        ends.append(p.detach().clone())
    torch.testing.assert_close(ends[0], torch.full((3,), 0.9 * 0.99 * 0.999, dtype=torch.float64), rtol=1e-12, atol=0)
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-12, atol=0)


def test_the_state_of_another_rule_is_refused_and_nothing_is_loaded() -> None:
    p = torch.ones(3, requires_grad=True)
    theirs, mine = Optimizer([p], "adam", "l2", weight_decay=0.1), Optimizer([p], "rmsprop", "l2", weight_decay=0.2)
    p.grad = torch.ones(3)
    theirs.step()
    before = mine.state_dict()
    with pytest.raises(InputError, match="state_dict with"):
        mine.load_state_dict(theirs.state_dict())
    assert mine.state_dict() == before


def test_a_state_dict_with_values_out_of_range_is_refused() -> None:
    optimizer = Optimizer([torch.ones(3, requires_grad=True)], "adam", "l2")
    broken = optimizer.state_dict()
    broken["param_groups"][0]["betas"] = (1.5, 2)
    with pytest.raises(InputError, match=r"beta1 1\.5 is out of range"):
        optimizer.load_state_dict(broken)


def test_a_refused_group_leaves_no_trace() -> None:
    optimizer = Optimizer([torch.ones(3, 1, requires_grad=True)], "muon", "l2")
    for refused in ({"params": [torch.ones(2)]}, {"params": [torch.ones(2, 1)], "lr": -1.0}):
        with pytest.raises(InputError):
            optimizer.add_param_group(refused)
        assert [p.shape for group in optimizer.param_groups for p in group["params"]] == [(3, 1)]

"""The torch face beside torch.optim with foreach=True: one step over the parameters of a ResNet-50, rule by rule.

Float32, on the processor, L2 in the gradient. Both sides hold parameters of their own and share the gradients. Pairs of
steps follow one another and take turns in who goes first, so that a neighbour's load hits both alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

from bench.measure import DisagreementError

# The largest difference between end weights over the largest weight, float64.
TOLERANCE = 1e-10
HOPED = 1.3

Shape = tuple[int, ...]
# The rules that torch.optim has with foreach, the class, and what its arguments must say besides.
PEERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "rmsprop": ("RMSprop", {}),
    "rmsprop_momentum": ("RMSprop", {"momentum": 0.9}),
    "rmsprop_centered": ("RMSprop", {"centered": True}),
    "adam": ("Adam", {}),
    "amsgrad": ("Adam", {"amsgrad": True}),
    "adamax": ("Adamax", {}),
    "nadam": ("NAdam", {}),
    "radam": ("RAdam", {}),
}


def resnet50() -> list[Shape]:
    """The shapes of ResNet-50's 161 parameters, in order: 25.6 million numbers (He et al., arXiv 1512.03385, table 1)."""
    shapes: list[Shape] = [(64, 3, 7, 7), (64,), (64,)]
    taken = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            convolutions = [(width, taken, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            # The shortcut is a convolution where the width changes.
            convolutions += [(4 * width, taken, 1, 1)] if block == 0 else []
            for shape in convolutions:
                shapes += [shape, (shape[0],), (shape[0],)]
            taken = 4 * width
    return [*shapes, (1000, taken), (1000,)]


@dataclass(frozen=True)
class Row:
    """Seconds a step of ours and of torch's, one entry a pair."""

    rule: str
    threads: int
    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as long ours takes."""
        return [a / b for a, b in zip(self.ours, self.theirs, strict=True)]


def _pair(
    rule: str, weights: Sequence[Any], gradients: Sequence[Any]
) -> tuple[list[list[Any]], list[Callable[[], Any]]]:
    """The parameters and the step of ours and of torch's, from these weights."""
    import torch

    from dynamics.optimizer import Optimizer

    name, extra = PEERS[rule]
    sides = [[torch.nn.Parameter(w.clone()) for w in weights] for _ in range(2)]
    for side in sides:
        for p, g in zip(side, gradients, strict=True):
            p.grad = g
    ours = Optimizer(sides[0], rule, "l2", lr=1e-3, weight_decay=1e-4)
    theirs = getattr(torch.optim, name)(sides[1], lr=1e-3, weight_decay=1e-4, foreach=True, **extra)
    return sides, [ours.step, theirs.step]


def check(rule: str, shapes: Sequence[Shape], steps: int = 5) -> None:
    """DisagreementError if the two do not end at the same weights, in float64, on tensors of these shapes.

    Gradients fall tenfold a step: what amsgrad remembers matters only where they do.
    """
    import torch

    random = torch.Generator().manual_seed(0)
    weights, *gradients = (
        [torch.randn(shape, dtype=torch.float64, generator=random) for shape in shapes] for _ in range(steps + 1)
    )
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # torch's own counts have the default type
    try:
        sides, both = _pair(rule, weights, gradients[0])
        for t, given in enumerate(gradients):
            for p, q, g in zip(*sides, given, strict=True):
                p.grad = q.grad = g * 0.1**t
            for step in both:
                step()
    finally:
        torch.set_default_dtype(default)
    largest = max(float(q.detach().abs().max()) for q in sides[1])
    furthest = max(float((p - q).detach().abs().max()) for p, q in zip(*sides, strict=True))
    # Written so that nan is a difference too.
    if not furthest <= TOLERANCE * largest:
        raise DisagreementError(
            f"torch.optim.{PEERS[rule][0]} disagrees with {rule}: end weights differ by {furthest:.1e}"
        )


def measure(
    shapes: Sequence[Shape], threads: Sequence[int], repetitions: int, progress: Callable[[str], None]
) -> list[Row]:
    """A row for each rule and number of threads; agreement is checked first, on the small ones of the shapes."""
    import torch

    random = torch.Generator().manual_seed(0)
    weights, gradients = ([torch.randn(shape, generator=random) for shape in shapes] for _ in range(2))
    small = [shape for shape in shapes if torch.Size(shape).numel() <= 1 << 14]
    before = torch.get_num_threads()
    rows = []
    try:
        for rule in PEERS:
            check(rule, small)
            _, both = _pair(rule, weights, gradients)
            for count in threads:
                progress(f"torch.optim, foreach: {rule}, {count} threads")
                torch.set_num_threads(count)
                row = Row(rule, count, [], [])
                turns = [(both[0], row.ours), (both[1], row.theirs)]
                for step, _ in turns:
                    step()
                for _ in range(repetitions):
                    for step, seconds in turns:
                        begin = perf_counter()
                        step()
                        seconds.append(perf_counter() - begin)
                    turns.reverse()
                rows.append(row)
    finally:
        torch.set_num_threads(before)
    return rows


def table(rows: Sequence[Row], count: int) -> str:
    """A line a rule: milliseconds of both and the ratio, for each number of threads."""
    lines = [
        f"One step over ResNet-50's parameters ({count:,} float32): the torch face over torch.optim with foreach=True",
        f"{'':18}{'threads':>8}{'ours, ms':>10}{'torch, ms':>10}{'ratio min median max':>24}   at most {HOPED}",
    ]
    for row in rows:
        milliseconds = "".join(f"{1e3 * median(x):10.1f}" for x in (row.ours, row.theirs))
        spread = " ".join(f"{x:.2f}" for x in (min(row.ratios), median(row.ratios), max(row.ratios)))
        verdict = "yes" if median(row.ratios) <= HOPED else "no"
        lines.append(f"{row.rule:18}{row.threads:8}{milliseconds}{spread:>24}   {verdict}")
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Everything measured, pair by pair."""
    return [
        {
            "rule": row.rule,
            "peer": f"torch.optim.{PEERS[row.rule][0]}",
            "threads": row.threads,
            "seconds": row.ours,
            "peer_seconds": row.theirs,
            "ratios": row.ratios,
            "ratio_expected": HOPED,
        }
        for row in rows
    ]

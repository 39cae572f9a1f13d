"""Comparisons of published pruning criteria with the filters that Adam and L2 silence, on networks trained here.

Each network is trained, then cut by every criterion to every share, tested, fine-tuned for a fixed number of steps and tested
again; beside that, its dead filters are removed, which needs no share. `fullscale.pruning_work` does this for one network,
`fullscale.pruning_claims` reads what came out.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dynamics.errors import InputError
from dynamics.given import among
from evidence.forms import NUMBER, check_form
from evidence.store import Row, Store
from evidence.study import Notify, Run, run_all
from fullscale.data import Images, Split
from fullscale.spec import CRITERIA, Criterion
from fullscale.studies.runs import Source

KIND = "compare"
_SPEC = {
    "seed": int, "shares": [float], "model": str, "width": float, "batch": int, "epochs": int, "tuning_steps": int,
    "base": {"name": str, "criteria": [str]},
}  # fmt: skip
_POINT = {
    "criterion": str, "share": float, "reached": float, "parameters": float, "multiply_adds": float, "error": [NUMBER],
    "held_out?": [NUMBER],
}  # fmt: skip
_SUMMARY = {"images": str, "seconds": float, "points": [_POINT]}


def check_row(row: Row) -> None:
    """ValueError for a stored network that is not as `fullscale.pruning_work` gives it."""
    check_form("spec", row.spec, _SPEC)
    if row.status != "done":
        return
    check_form("summary", row.summary, _SUMMARY)
    points = row.summary["points"]
    places = [(criterion, share) for criterion in row.spec["base"]["criteria"] for share in row.spec["shares"]]
    if [(p["criterion"], p["share"]) for p in points[2:]] != places or any(len(p["error"]) != 2 for p in points):
        raise ValueError("points of other criteria and shares than those of the spec")
    if [p["criterion"] for p in points[:2]] != ["whole", "dead"]:
        raise ValueError("no point of the whole network and of that without dead filters")


# Multiply-adds for an image up to which seeds train as one program. BasicNet at 1/8 width (0.2 million on the digits) gains by
# it; VGG-16 at 1/8 width (5.1 million on CIFAR-10, batches of 40) takes 1,510 images a second alone and 1,180 with two others.
TOGETHER = 1e6


@dataclass(frozen=True)
class Base:
    """How the networks are trained that are then cut: optimizer with L2 of this strength, lr / 10 for the last fifth.

    slimming: strength of L1 on BatchNorm's scales beside it, the training of Network Slimming. criteria: those tried on it;
    with none the dead filters alone are removed, and the steps that others are fine-tuned for go into the training.
    """

    name: str
    optimizer: str
    lr: float
    strength: float
    slimming: float = 0.0
    criteria: tuple[Criterion, ...] = CRITERIA


@dataclass(frozen=True)
class PruningStudy:
    """A comparison: one budget of steps for every training, fine-tuning included.

    Args:
        name: by which commands find it.
        bases: the trainings.
        data: where the images lie, as `fullscale.data.load` takes it; "" leaves that to --data.
        model: one of `fullscale.spec.MODELS`.
        width: of the network.
        held_out: share of the training images that no step sees, for choices that must not look at the test images.
        batch: images a step.
        steps: of the training, to a whole number of epochs.
        seeds: one network each.
        shares: of the filters, asked of each criterion.
        tuning_steps: of the fine-tuning, with the optimizer, L2 and batch of the training (without slimming) and a constant
            lr, a tenth of the training's first.

    Raises:
        InputError: for numbers of steps below 1, of fine-tuning below 0.

    Example:
        >>> adam = Base("adam", "adam", 1e-3, 1e-3, criteria=())
        >>> momentum = Base("momentum", "momentum", 1e-2, 5e-4, criteria=("l1",))
        >>> study = PruningStudy("short", (adam, momentum), steps=80, tuning_steps=20)
        >>> [study.epochs(base, each=10) for base in study.bases]
        [10, 8]
    """

    name: str
    bases: tuple[Base, ...]
    data: str = ""
    model: str = "basicnet"
    width: float = 0.125
    held_out: float = 0.0
    batch: int = 16
    steps: int = 5_000
    seeds: tuple[int, ...] = (0, 1, 2)
    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    tuning_steps: int = 100

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps {self.steps}: a positive whole number is accepted")
        if self.tuning_steps < 0:
            raise InputError(f"tuning_steps {self.tuning_steps}: a whole number from 0 is accepted")

    def constants(self) -> dict[str, Any]:
        """What it is run with, trainings by their names."""
        return asdict(self) | {"bases": {base.name: asdict(base) for base in self.bases}}

    def tuning(self, base: Base) -> int:
        """Steps for which what is cut from a network of this training is fine-tuned."""
        return self.tuning_steps if base.criteria else 0

    def epochs(self, base: Base, each: int) -> int:
        """Of a training, with so many steps in each."""
        return max(1, round((self.steps + self.tuning_steps - self.tuning(base)) / each))

    def spec(self, base: Base, seed: int, digest: str, each: int) -> dict[str, Any]:
        """What a network is stored under. digest: of all images; each: steps of an epoch."""
        own = {name: getattr(self, name) for name in ("model", "width", "held_out", "batch", "shares")}
        more = {"epochs": self.epochs(base, each), "tuning_steps": self.tuning(base), "base": asdict(base)}
        return own | more | {"digest": digest, "seed": seed}

    def run(self, images: Images, source: Source, store: Store, executor: Executor, notify: Notify) -> list[Row]:
        """The rows, one a training and seed: those that are stored, and those that are run first, each stored when it is done.

        Args:
            images: what the networks learn from and are judged by.
            source: where a worker reads the same.
            store: decides what still has to run, and keeps it.
            executor: runs the work.
            notify: called as notify(done, count, line).

        Returns:
            One Row a network; one that diverged has no points.

        Raises:
            InputError: for fewer training images than a batch, and whatever a network cannot be trained or cut for.
        """
        from fullscale import pruning_work

        place = source.data if source.data == "digits" else str(Path(source.data).absolute())
        count = len(parted(images, self.held_out)[0].train.labels)
        if count < self.batch:
            raise InputError(f"batch {self.batch}: must be at most {count}, the number of training images")
        each = count // self.batch
        together = pruning_work.cost(self, images) <= TOGETHER
        runs = [
            Run(
                KIND,
                self.spec(base, seed, images.digest, each),
                f"{base.name}, seed {seed}",
                partial(pruning_work.work, self, base, seed, source._replace(data=place), together),
                base.name if together else "",
                pruning_work.work_together,
                check_row,
            )
            for base in self.bases
            for seed in self.seeds
        ]
        return run_all(runs, store, executor, notify, in_words, strict=True)


def parted(images: Images, held_out: float) -> tuple[Images, Split | None]:
    """The task without a share of its training images, always the same, and that share; None for 0."""
    if not held_out:
        return images, None
    parts = images.validation(held_out)
    return replace(images, train=parts.train), parts.test


def in_words(row: Row) -> str:
    """A stored network in a few words."""
    if row.status != "done":
        return f"{row.status}, {row.error}"
    whole, dead, *cut = row.summary["points"]
    silent = f"{100 * whole['error'][0]:.1f}% test error, {100 * dead['reached']:.0f}% of filters dead"
    return f"{silent}, cut to {len(cut)} networks, {row.summary['seconds']:.0f} s"


# Learning rates: of those that the study digits-lr cannot tell apart, ones at which filters die. The strength of slimming was
# chosen after trial runs: of 1e-3, 3e-3, 1e-2, 3e-2 and 1e-1 it is the largest that left the test error as it was. The
# paper's, 1e-4 and 1e-5, do little in so few steps.
DIGITS = PruningStudy(
    "digits",
    (
        Base("adam", "adam", 1e-2, 5e-3),
        Base("momentum", "momentum", 3e-2, 5e-4),
        Base("slimming", "momentum", 3e-2, 5e-4, slimming=1e-2, criteria=("gamma",)),
    ),
    data="digits",
)
# Stage 6 of docs/protocol.md: its budget of 12 epochs of 45,000 images is 13,500 steps. L2 of momentum as in both papers' code;
# slimming's strengths around the one whose pull over all steps, strength times the sum of learning rates, is the paper's.
_ADAM = Base("adam", "adam", 1e-3, 1e-3, criteria=())
_MOMENTUM = Base("momentum", "momentum", 3e-2, 5e-4, criteria=("l1",))
_SLIMMING = replace(_MOMENTUM, name="slimming", slimming=3e-4, criteria=("gamma",))
PAPER = PruningStudy(
    "paper-6-pruning",
    (_ADAM, _MOMENTUM, _SLIMMING),
    model="vgg16",
    held_out=0.1,
    batch=40,
    steps=11_250,
    seeds=(2, 3, 4),
    shares=(0.1, 0.25, 0.4, 0.55, 0.7, 0.85),
    tuning_steps=2_250,
)
# What its learning rates and slimming's strength are chosen by: of each optimizer, and of slimming, the lowest held-out error.
PAPER_RATES = replace(
    PAPER,
    name="paper-6-rates",
    bases=(
        *(replace(_ADAM, name=f"adam {lr:g}", lr=lr) for lr in (3e-3, 1e-3, 3e-4)),
        *(replace(_MOMENTUM, name=f"momentum {lr:g}", lr=lr, criteria=()) for lr in (0.1, 0.03, 0.01)),
        *(replace(_SLIMMING, name=f"slimming {l1:g}", slimming=l1, criteria=()) for l1 in (3e-3, 1e-3, 3e-4)),
    ),
    steps=4_500,
    seeds=(0,),
    shares=(),
    tuning_steps=0,
)
COMPARISONS = {study.name: study for study in (DIGITS, PAPER_RATES, PAPER)}


def find_comparison(name: str) -> PruningStudy:
    """The comparison of that name. InputError for an unknown one."""
    return COMPARISONS[among("comparison", name, tuple(COMPARISONS))]

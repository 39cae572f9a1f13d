"""What one training run is: a frozen description that is its configuration, its help text and its key in the store."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from dynamics.couplings import find_coupling
from dynamics.errors import InputError
from dynamics.rule import as_float, check
from dynamics.rules import find_rule
from dynamics.simulate.schedules import Schedule, constant, cosine, step_decay

SchedulePlan = Literal["constant", "step", "cosine"]
Precision = Literal["float32", "bf16"]


# Sixteen times BasicNet is 8,192 filters in a layer; beyond it a width is a slip of the hand.
WIDEST = 16


# The networks (`fullscale.models`), each with the heads that it has.
MODELS = {
    "basicnet": ("cifar",),
    "vgg11": ("cifar", "imagenet"),
    "vgg16": ("cifar", "imagenet"),
    "vgg19": ("cifar", "imagenet"),
    "resnet20": ("cifar",),
    "resnet56": ("cifar",),
    "resnet18": ("cifar", "imagenet"),
    "resnet50": ("cifar", "imagenet"),
}
HEADS = ("cifar", "imagenet")


def check_model(model: str, head: str) -> None:
    """InputError for an unknown network, and for a head that it does not have."""
    _check_known("model", model, MODELS)
    _check_known("head", head, HEADS)
    if head not in MODELS[model]:
        raise InputError(f"head {head!r} of {model}: {', '.join(MODELS[model])} is accepted")


def _check_known(what: str, name: str, accepted: Collection[str]) -> None:
    if name not in accepted:
        raise InputError(f"{what} {name!r} is unknown: accepted are {', '.join(accepted)}")


def check_width(width: float) -> None:
    """InputError for a network's width outside (0, 16]."""
    if not 0 < width <= WIDEST:
        raise InputError(f"width {width}: a number above 0, at most {WIDEST}, is accepted")


@dataclass(frozen=True)
class RunSpec:
    """One training run, or, of BasicNet, of several side by side that differ in their seed alone.

    The regularizer acts on all parameters, BatchNorm's and biases included, as in torch.

    Args:
        digest: of the images (`Images.digest`), so that the key follows the data and not their path.
        width: the network's numbers of filters are multiplied by this, in (0, 16].
        optimizer: name of the rule.
        coupling: name of the coupling.
        lr: base learning rate, that of the schedule's start.
        strength: of the regularizer.
        batch: images a step, the incomplete last batch of an epoch being left out.
        epochs: passes over the training images.
        seeds: one network each; a seed sets first weights and data order.
        schedule: constant; step: the learning rate divided by 10 for the last fifth; cosine: to 0.
        hyper: (name, value) pairs of the rule's hyperparameters; the rest is left at its defaults.
        measure_every: epochs between two measurements of the whole training set.
        validation: share of the training images that takes the place of the test images, another part for each seed; 0:
            the test images stay.
        model: one of MODELS.
        head: as in `fullscale.models.Architecture`.
        augment: training images are shifted by up to 4 pixels and flipped at random.
        precision: bf16 runs convolutions and linear layers in bfloat16 (autocast), weights and updates staying in
            float32.
        start: sha256 of the file whose network the run starts from; "": from first weights drawn by the seed.
        thresholds: test the trained network once more for every threshold, with the filters below it put to 0.

    Raises:
        InputError: for unknown names and values out of range.

    Example:
        >>> spec = RunSpec("9d6b", 0.25, "adam", "l2", lr=1e-3, strength=1e-4, batch=64, epochs=10, seeds=(0,))
        >>> spec.multiplier(100)([0, 79, 80]).round(3).tolist()
        [1.0, 1.0, 0.1]
    """

    digest: str
    width: float
    optimizer: str
    coupling: str
    lr: float
    strength: float
    batch: int
    epochs: int
    seeds: tuple[int, ...]
    schedule: SchedulePlan = "step"
    hyper: tuple[tuple[str, float], ...] = ()
    measure_every: int = 1
    validation: float = 0.0
    model: str = "basicnet"
    head: Literal["cifar", "imagenet"] = "cifar"
    augment: bool = False
    precision: Precision = "float32"
    start: str = ""
    thresholds: bool = False

    def __post_init__(self) -> None:
        # 1 and 1.0 are one number, and must be one key in the store.
        for name in ("width", "lr", "strength", "validation"):
            object.__setattr__(self, name, as_float(name, getattr(self, name)))
        object.__setattr__(self, "hyper", tuple((name, as_float(name, value)) for name, value in sorted(self.hyper)))
        rule = find_rule(self.optimizer)
        find_coupling(self.coupling)
        check("lr", self.lr)
        check("strength", self.strength)
        rule.hyperparameters(**dict(self.hyper))
        if self.coupling == "none" and self.strength:
            raise InputError(f"strength {self.strength} with coupling none: name the coupling it shall enter by")
        _check_known("schedule", self.schedule, get_args(SchedulePlan))
        check_width(self.width)
        check_model(self.model, self.head)
        _check_known("precision", self.precision, get_args(Precision))
        for name in ("batch", "epochs", "measure_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: a positive whole number is accepted")
        if self.batch < 2:
            raise InputError(f"batch {self.batch}: BatchNorm needs at least 2 images")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds {list(self.seeds)}: one or more different ones are accepted")
        for seed in self.seeds:
            if not 0 <= seed < 2**63:
                raise InputError(f"seed {seed}: a whole number from 0 to 2^63 - 1 is accepted")
        if rule.unit == "matrix":
            raise InputError(f"optimizer {self.optimizer!r} takes matrices only: convolutions are none")
        if len(self.seeds) > 1 and (rule.unit == "tensor" or self.model != "basicnet" or self.start):
            # Replicas lie in one tensor, whose norm would mix them; only BasicNet can be trained side by side.
            other = self.optimizer if rule.unit == "tensor" else "a start" if self.start else self.model
            raise InputError(f"seeds {list(self.seeds)} with {other}: one seed a run is accepted")
        if not 0 <= self.validation < 1:
            raise InputError(f"validation {self.validation}: a share in [0, 1) is accepted")

    def as_dict(self) -> dict[str, Any]:
        """Plain data: what the store hashes and keeps."""
        return asdict(self)

    def multiplier(self, steps: int) -> Schedule:
        """The learning rate's multiplier over a run of `steps` steps."""
        if self.schedule == "cosine":
            return cosine(steps)
        return step_decay([steps * 4 // 5]) if self.schedule == "step" else constant()

"""What one training run is: a frozen description that is its configuration, its help text and its key in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from dynamics.couplings import find_coupling
from dynamics.door import check_fields
from dynamics.errors import InputError
from dynamics.given import among, number, whole
from dynamics.rule import check
from dynamics.rules import find_rule
from dynamics.simulate.schedules import Schedule, constant, cosine, step_decay

SchedulePlan = Literal["constant", "step", "cosine"]
Precision = Literal["float32", "bf16"]
# By what filters are ranked before the lowest are cut (`fullscale.criteria`).
Criterion = Literal["l1", "gamma", "random", "selective", "selective_layer"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)

# Pixels by which an augmented image may be shifted to each side, what comes in being black: the usual recipe for CIFAR
# since Lee et al. 2015 (arXiv 1409.5185).
SHIFT = 4
# Of epochs, and of images in a batch: a billion steps are a year, and what they make together still is exact in float64.
MOST = 10**9
# Of the processes of a run: sixteen thousand GPUs are more than anybody has.
PROCESSES = 2**14
# Of a learning rate, a strength, what the two take off a weight, and a hyperparameter: more is no float32, as weights are.
STRONGEST = 1e38
# Of an image's side: 16 times that of the largest pictures that networks are trained on.
SIDE = 2**14
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
# The least and the most of every whole number of a run; BatchNorm needs two images.
COUNTS = {
    "batch": (2, MOST), "epochs": (1, MOST), "seed": (0, 2**63 - 1), "measure_every": (1, MOST), "size": (0, SIDE),
    "processes": (1, PROCESSES),
}  # fmt: skip


def check_model(model: str, head: str) -> None:
    """InputError for an unknown network, and for a head that it does not have."""
    among("model", model, tuple(MODELS))
    among("head", head, tuple(HEADS))
    if head not in MODELS[model]:
        raise InputError(f"head {head!r} of {model}: {', '.join(MODELS[model])} is accepted")


def check_width(width: float) -> None:
    """InputError for a network's width outside (0, 16]."""
    if not number("width", width, 0, WIDEST) > 0:
        raise InputError(f"width {width}: a number above 0, up to {WIDEST}, is accepted")


@dataclass(frozen=True)
class RunSpec:
    """One training run.

    The regularizer acts on all parameters, BatchNorm's and biases included, as in torch.

    Args:
        digest: of the images as they are trained on (`Images.digest`), so that the key follows the data and not their path.
        width: the network's numbers of filters are multiplied by this, in (0, 16].
        optimizer: name of the rule.
        coupling: name of the coupling.
        lr: base learning rate, that of the schedule's start.
        strength: of the regularizer.
        batch: images a step, 2 to 10^9, the incomplete last batch of an epoch being left out.
        epochs: passes over the training images, 1 to 10^9.
        seed: sets first weights and data order.
        schedule: constant; step: the learning rate divided by 10 for the last fifth; cosine: to 0.
        hyper: (name, value) pairs of the rule's hyperparameters; the rest is left at its defaults.
        measure_every: epochs between two measurements of the whole training set.
        validation: share of the training images that takes the place of the test images, another part for each seed; 0:
            the test images stay.
        held_out: share of the training images, the same for every seed, that no step sees. The error on them stands beside
            the test error, for choices that must not look at that.
        model: one of MODELS.
        head: as in `fullscale.models.Architecture`.
        augment: training images are shifted by up to `shift` pixels and mirrored at random.
        precision: bf16 runs convolutions and linear layers in bfloat16 (autocast), weights and updates staying in
            float32.
        start: sha256 of the file whose network the run starts from; "": from first weights drawn by the seed.
        thresholds: test the trained network once more for every threshold, with the filters below it put to 0.
        size: side of the images in pixels, made by averaging, up to 16,384; 0: as they are.
        classes: names of the only ones taken; none: all.
        label_noise: share of the training images whose label is drawn at random.
        processes: 1 to 16,384, that share each batch between them, every one with BatchNorm of its own part.
        sync_batchnorm: BatchNorm of the whole batch instead, over all processes.
        watch: every filter is followed through every step (`fullscale.watched`).
        record: what a forecast of deaths needs is kept of every filter, and what became of it (`fullscale.forecast`).

    Raises:
        InputError: for unknown names and values out of range.

    Example:
        >>> spec = RunSpec("9d6b", 0.25, "adam", "l2", lr=1e-3, strength=1e-4, batch=64, epochs=10, seed=0)
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
    seed: int
    schedule: SchedulePlan = "step"
    hyper: tuple[tuple[str, float], ...] = ()
    measure_every: int = 1
    validation: float = 0.0
    held_out: float = 0.0
    model: str = "basicnet"
    head: Literal["cifar", "imagenet"] = "cifar"
    augment: bool = False
    precision: Precision = "float32"
    start: str = ""
    thresholds: bool = False
    size: int = 0
    classes: tuple[str, ...] = ()
    label_noise: float = 0.0
    processes: int = 1
    sync_batchnorm: bool = False
    watch: bool = False
    record: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        # 1 and 1.0 are one number, and must be one key in the store.
        for name in ("width", "lr", "strength", "validation", "held_out", "label_noise"):
            high = WIDEST if name == "width" else STRONGEST
            object.__setattr__(self, name, number(name, getattr(self, name), high=high))
        for name, (low, high) in COUNTS.items():
            object.__setattr__(self, name, whole(name, getattr(self, name), low, high))
        hyper = tuple((name, number(name, value, high=STRONGEST)) for name, value in sorted(self.hyper))
        object.__setattr__(self, "hyper", hyper)
        rule = find_rule(self.optimizer)
        find_coupling(self.coupling)
        check("lr", self.lr)
        check("strength", self.strength)
        rule.hyperparameters(**dict(self.hyper))
        if self.coupling == "none" and self.strength:
            raise InputError(f"strength {self.strength} with coupling none: name the coupling it shall enter by")
        if self.lr * self.strength > STRONGEST:
            raise InputError(f"lr {self.lr} times strength {self.strength}: up to {STRONGEST:g} is accepted")
        among("schedule", self.schedule, get_args(SchedulePlan))
        check_width(self.width)
        check_model(self.model, self.head)
        among("precision", self.precision, get_args(Precision))
        if rule.unit == "matrix":
            raise InputError(f"optimizer {self.optimizer!r} takes matrices only: convolutions are none")
        for name in ("validation", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: a share in [0, 1) is accepted")
        if self.validation and self.held_out:
            raise InputError(f"validation {self.validation} and held_out {self.held_out}: one of them is accepted")
        if not 0 <= self.label_noise <= 1:
            raise InputError(f"label_noise {self.label_noise}: a share in [0, 1] is accepted")
        if self.batch % self.processes or self.batch < 2 * self.processes:
            raise InputError(
                f"batch {self.batch} for {self.processes} processes: 2 or more whole images for each are accepted"
            )
        if self.sync_batchnorm and self.processes == 1:
            raise InputError("sync_batchnorm True with 1 process: False is accepted")
        if self.record and (self.watch or self.start or self.processes > 1):
            raise InputError(
                f"record of a run in {self.processes} process(es){' from a file' if self.start else ''}"
                f"{' with watch' if self.watch else ''}: one process, from first weights, without watch, is accepted"
            )
        if self.watch and (rule.unit != "weight" or self.start or self.processes > 1):
            raise InputError(
                f"watch of {self.optimizer} in {self.processes} process(es){' from a file' if self.start else ''}: a rule that "
                "takes weights one by one is accepted, in one process, from first weights"
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain data: what the store hashes and keeps. What is at its default is left out, so that a field that is new
        leaves the keys of older runs as they are."""
        own = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in own.items() if value != default}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> RunSpec:
        """The spec that `as_dict` gave, also after its way through JSON. InputError for data that are none."""
        lists = {"hyper": lambda pairs: tuple((name, value) for name, value in pairs), "classes": tuple}
        try:
            return cls(**{name: lists.get(name, lambda x: x)(value) for name, value in data.items()})
        except (TypeError, ValueError) as error:
            raise InputError(f"{dict(data)!r} is no run ({error}): what RunSpec.as_dict gives is accepted") from error

    @property
    def shift(self) -> int:
        """Pixels by which an augmented image may be shifted: 4, and an eighth of a side that was asked for, 4 of 32."""
        return max(1, self.size // 8) if self.size else SHIFT

    def multiplier(self, steps: int) -> Schedule:
        """The learning rate's multiplier over a run of `steps` steps."""
        if self.schedule == "cosine":
            return cosine(steps)
        return step_decay([steps * 4 // 5]) if self.schedule == "step" else constant()


# What runs that advance together may differ in.
_OWN: dict[str, Any] = {
    "optimizer": "sgd", "coupling": "none", "lr": 1.0, "strength": 0.0, "hyper": (), "seed": 0, "schedule": "constant",
    "thresholds": False,
}  # fmt: skip


def together_key(spec: RunSpec) -> str:
    """The same for runs that can be trained together by `fullscale.train.train_together`; "" for one that goes alone.

    Alone go rules that look at a whole tensor, a start from a file, several processes, watched and recorded runs, and networks with
    dropout.
    """
    dropout = spec.model.startswith("vgg") and spec.head == "imagenet"
    if (
        find_rule(spec.optimizer).unit != "weight"
        or spec.start
        or spec.processes > 1
        or spec.watch
        or spec.record
        or dropout
    ):
        return ""
    return json.dumps(replace(spec, **_OWN).as_dict(), sort_keys=True)

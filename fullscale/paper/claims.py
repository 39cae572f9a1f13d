"""What is claimed of the study paper: the ten primary contrasts of docs/protocol.md, and the secondary ones.

All data are from CIFAR-10 (JPEG copy) at 16 x 16 pixels and BasicNet at 1/8 width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from evidence.claim import Estimate, Margin
from evidence.registry import claim, experiment
from evidence.sources import MEHTA
from fullscale.paper.cells import RUN
from fullscale.paper.contrasts import CONTRASTS, Looked
from fullscale.paper.secondary import LATER, SECONDARY
from fullscale.watched.claims import QUESTIONS, declare

NAME = "paper"
# Of each primary contrast what is said, and the number of a seed. Adam, SGD, momentum: at their best learning rates.
SAID = {
    "S1": (
        "On CIFAR-10 some filters of a CNN with BatchNorm and ReLU end up active for no image under Adam with L2.",
        "Inactive share with L2 1e-3.",
    ),
    "S2": (
        "On CIFAR-10 hardly a filter falls silent without a regularizer, under Adam, SGD or momentum.",
        "The largest inactive share of the three.",
    ),
    "S3": (
        "On CIFAR-10 Adam with L2 silences more filters than SGD and momentum with it, each at its tuned learning rate.",
        "Inactive share with L2 1e-3 under Adam minus the larger of SGD's and momentum's.",
    ),
    "S4": (
        "On CIFAR-10 under Adam L2 silences more filters than the paper's decay of equal strength, at both strengths.",
        "Inactive share with L2 minus with the paper's decay, the smaller of the differences at 1e-3 and 3e-3.",
    ),
    "S5a": (
        "On CIFAR-10 larger batches silence fewer filters at equal epochs, under Adam with L2.",
        "Slope of the inactive share over log2 of batch 20, 40, 80, 160, by least squares.",
    ),
    "S5b": (
        "On CIFAR-10 a smaller network loses a smaller share of its filters, under Adam with L2.",
        "Slope of the inactive share over log2 of width 1/16, 1/8, 1/4, by least squares.",
    ),
    "S5c": (
        "On CIFAR-10 a task of more classes silences fewer filters at equal steps, under Adam with L2.",
        "Slope of the inactive share over log2 of 2, 5, 10 classes, by least squares.",
    ),
    "S6": (
        "On CIFAR-10 the more selective a filter, the larger the regularizer's share of its scale's update, under Adam with L2.",
        "Rank correlation, within layers, over the filters that are active at 30% of the training.",
    ),
    "S7": (
        "On CIFAR-10 Adam learns more selective features than SGD without a regularizer.",
        "Selectivity of active filters, mean of the layers' means, under Adam minus under SGD.",
    ),
    "S13": (
        "On CIFAR-10 Adam with L2 1e-3, which silences filters, errs less than a point more than Adam without a regularizer.",
        "Test error with L2 1e-3 minus without a regularizer.",
    ),
}
_FAMILY = "One sample a seed; the interval is by Holm's procedure over the ten primary contrasts of docs/protocol.md."
_BESIDE = (
    "One sample a seed, or a network; not one of the primary contrasts of docs/protocol.md, which names the number."
)


def _constants() -> Mapping[str, Any]:
    return RUN.as_dict() | {"protocol": "docs/protocol.md"}


experiment(NAME, _constants, "undertow study paper --data CIFAR-10")

Read = Callable[[Mapping[str, Any]], Estimate]


def _primary(name: str) -> Read:
    def read(found: Mapping[str, Any]) -> Estimate:
        estimate: Estimate = found["primary"][name]
        return estimate

    read.__doc__ = f"{SAID[name][1]} {_FAMILY}"
    return read


def _secondary(of: Callable[[Looked], Estimate]) -> Read:
    def read(found: Mapping[str, Any]) -> Estimate:
        return of(found["looked"])

    read.__doc__ = _BESIDE
    return read


# Claims on digits and toy worlds that came out the other way.
_AGAINST = {"S3 cifar sum": ("S3 any lr",), "S5c cifar labels": ("S5c",)}
_claim = partial(claim, experiment=NAME)
for _name, _contrast in CONTRASTS.items():
    _sentence = SAID[_name][0]
    _claim(f"{_name} cifar", sentence=_sentence, source=MEHTA, decision=_contrast.decision, margin="before")(
        _primary(_name)
    )
for _name, (_sentence, _estimate, _decision) in SECONDARY.items():
    _source = f"{MEHTA}, made stricter or wider here, exploratory"
    _margin: Margin = "after" if _name in LATER else "before"
    _claim(
        _name, sentence=f"On CIFAR-10: {_sentence}", source=_source, decision=_decision, margin=_margin,
        against=_AGAINST.get(_name, ()),
    )(_secondary(_estimate))  # fmt: skip
_QUESTIONS = [name for name in QUESTIONS if name]
declare("cifar", NAME, lambda found: list(found["looked"].watched.values()), _QUESTIONS, margin="before")

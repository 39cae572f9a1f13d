"""What is claimed of the study paper: the ten primary contrasts of docs/protocol.md, and the secondary ones.

All data are from CIFAR-10 (JPEG copy) at 16 x 16 pixels and BasicNet at 1/8 width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evidence.claim import Estimate
from evidence.registry import claim, experiment
from evidence.sources import MEHTA
from fullscale.paper.cells import RUN
from fullscale.paper.contrasts import CONTRASTS, Looked
from fullscale.paper.secondary import SECONDARY
from fullscale.watched.claims import QUESTIONS, declare

NAME = "paper"
SENTENCES = {
    "S1": "On CIFAR-10 some filters of a CNN with BatchNorm and ReLU end up active for no image under Adam with L2.",
    "S2": "On CIFAR-10 hardly a filter falls silent without a regularizer, under Adam, SGD or momentum.",
    "S3": "On CIFAR-10 Adam with L2 silences more filters than SGD and momentum with it, each at its tuned learning rate.",
    "S4": "On CIFAR-10 under Adam L2 silences more filters than the paper's decay of equal strength, at both strengths.",
    "S5a": "On CIFAR-10 larger batches silence fewer filters at equal epochs, under Adam with L2.",
    "S5b": "On CIFAR-10 a smaller network loses a smaller share of its filters, under Adam with L2.",
    "S5c": "On CIFAR-10 a task of more classes silences fewer filters at equal steps, under Adam with L2.",
    "S6": "On CIFAR-10 the more selective a filter, the larger the regularizer's share of its scale's update, under Adam with L2.",
    "S7": "On CIFAR-10 Adam learns more selective features than SGD without a regularizer.",
    "S13": "On CIFAR-10 the sparsity of Adam with L2 costs less than a point of test error.",
}


def _constants() -> Mapping[str, Any]:
    return RUN.as_dict() | {"protocol": "docs/protocol.md"}


experiment(NAME, _constants, "undertow study paper --data CIFAR-10")

Read = Callable[[Mapping[str, Any]], Estimate]


def _primary(name: str) -> Read:
    def read(found: Mapping[str, Any]) -> Estimate:
        estimate: Estimate = found["primary"][name]
        return estimate

    return read


def _secondary(of: Callable[[Looked], Estimate]) -> Read:
    return lambda found: of(found["looked"])


for _name, _contrast in CONTRASTS.items():
    claim(
        f"{_name} cifar",
        sentence=SENTENCES[_name],
        source=MEHTA,
        experiment=NAME,
        decision=_contrast.decision,
        margin="before",
    )(_primary(_name))
for _name, (_sentence, _estimate, _decision) in SECONDARY.items():
    claim(
        _name,
        sentence=f"{_sentence} Exploratory.",
        source=f"{MEHTA}, made stricter or wider here",
        experiment=NAME,
        decision=_decision,
        margin="before",
    )(_secondary(_estimate))
declare(
    "cifar",
    NAME,
    lambda found: list(found["looked"].watched.values()),
    [name for name in QUESTIONS if name],
    margin="before",
)

"""The paper's claims S1 to S12, and which findings bear on each: the table in the README."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """A finding in a cell: the claim's id, what tells it from its neighbours, and its number's scale and unit if others
    than the stored ones read better."""

    id: str
    label: str = ""
    scale: float = 1
    unit: str | None = None


@dataclass(frozen=True)
class Row:
    """A claim of the paper, in a word and in a sentence, and the findings in toy worlds and in the CNN. beside: what there is
    where no claim is."""

    id: str
    short: str
    says: str
    toy: tuple[Shown, ...] = ()
    cnn: tuple[Shown, ...] = ()
    beside: str = ""


_SHARE = "% of features"
_POINTS = "points of features more"
_LEFT = "% of the variation left"
_PAIRS = "of pairs of settings (rises less falls)"
PAPER = (
    Row(
        "S1",
        "filters die",
        "With BatchNorm, ReLU, an adaptive optimizer and L2 some filters end up active for no image",
        (Shown("S1 toy", "", 100, _SHARE),),
        (Shown("S1"),),
    ),
    Row(
        "S2",
        "only if regularized",
        "Without a regularizer none does",
        (Shown("S2 toy", "", 100, _SHARE),),
        (Shown("S2", "", 1, "% of filters"),),
    ),
    Row(
        "S3",
        "adaptive optimizers",
        "Adaptive optimizers kill far more filters than SGD and momentum",
        (
            Shown("S3 toy", "features that can replace each other", 100, _POINTS),
            Shown("S3 alone", "a feature alone", 100, _POINTS),
        ),
        (
            Shown("S3", "each at its tuned lr", 1, "points of filters more"),
            Shown("S3 any lr", "at every lr of like accuracy", 1, "points of filters more"),
        ),
    ),
    Row(
        "S4",
        "L2 or decay",
        "Under adaptive optimizers L2 kills more than weight decay",
        (
            Shown("S4", "decay x lr", 100, _POINTS),
            Shown("S4 schedule", "decay without lr, weak", 100, _POINTS),
            Shown("S4 schedule strong", "decay without lr, strong", 100, _POINTS),
        ),
    ),
    Row(
        "S5a",
        "batch size",
        "Larger batches kill fewer",
        (Shown("S5a", "", 100, "points of features a doubling of the batch"),),
    ),
    Row(
        "S5b",
        "network size",
        "Smaller networks lose a smaller share",
        (Shown("S5b", "", 100, "points of features a doubling of the network"),),
    ),
    Row(
        "S5c",
        "difficulty",
        "Harder tasks kill fewer",
        (Shown("S5c", "", 100, "points of features a doubling of the gradients"),),
    ),
    Row(
        "S6",
        "selectivity",
        "The reason: L2 pulls disproportionately hard at selective features",
        (
            Shown("S6", "under Adam the pull grows as 1/sqrt(arrival): exponent", 1, ""),
            Shown(
                "S6 half power", "under every adaptive rule", 1, "times 1/sqrt(arrival) under the slowest (Adadelta)"
            ),
            Shown("S6 alone capacity", "it alone explains S5b", 100, _LEFT),
            Shown("S6 alone difficulty", "it alone explains S5c", 100, _LEFT),
        ),
        (
            Shown(
                "S6 digits",
                "the regularizer's share of a scale's updates rises with selectivity: rank correlation",
                1,
                "",
            ),
            Shown("S6 digits dies", "selective filters die: area under the ROC curve", 1, ""),
        ),
    ),
    Row(
        "S7",
        "Adam's features",
        "Adam learns more selective features than SGD",
        (Shown("S7 toy", "", 100, "points of selectivity more"),),
    ),
    Row(
        "S8",
        "strength of L2",
        "Through an adaptive rule L2 regularizes harder than weight decay",
        (
            Shown("S8 silent", "no gradient", 1, "times fewer steps"),
            Shown("S8 selective", "small gradients"),
            Shown("S8 always", "large gradients"),
        ),
    ),
    Row(
        "S9",
        "removal",
        "Dead filters can be removed at no cost; looser thresholds find about as many",
        (Shown("S9 outputs", "removal"),),
        (
            Shown("S9", "removal", 1, "points of test error"),
            Shown("S9 thresholds activation", "thresholds on activation"),
            Shown("S9 thresholds scale", "thresholds on gamma"),
        ),
    ),
    Row(
        "S10",
        "pruning methods",
        "More filters go than by L1 norms (Li et al.), about as many as by Network Slimming (Liu et al.)",
        (),
        (Shown("S10 l1", "L1 norms"), Shown("S10 gamma", "Slimming")),
    ),
    Row(
        "S11",
        "knobs",
        "Strength and learning rate set how many die",
        (Shown("S11 toy", "strength", 1, _PAIRS), Shown("S11 lr", "learning rate", 1, _PAIRS)),
    ),
    Row(
        "S12",
        "a criterion",
        "Removing the most selective features is itself a pruning criterion",
        (Shown("S12 toy", "against chance", 100, "% of loss saved"),),
        (
            Shown("S12 selective random adam", "further than chance"),
            Shown("S12 selective gamma adam", "less far than abs(gamma)"),
        ),
    ),
)

"""The paper's claims S1 to S13, and which findings bear on each: the rows of the one table, in README, report and terminal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """A finding in a cell: the claim's id, what tells it from its neighbours, and its number's scale and unit if others
    than the stored ones read better.

    data: what a network was trained on. about: findings of one row on the same question, as toy worlds and networks put it,
    have the same word here; where they disagree, both are marked.
    """

    id: str
    label: str = ""
    scale: float = 1
    unit: str | None = None
    data: str = ""
    about: str = ""


@dataclass(frozen=True)
class Row:
    """A claim of the paper in a word, in a sentence and as a formula, and the findings in toy worlds and in real CNNs.

    no_toy, no_cnn: why there are none. left: what of the paper's claim nothing here bears on, and why.
    """

    id: str
    short: str
    says: str
    formula: str
    toy: tuple[Shown, ...] = ()
    cnn: tuple[Shown, ...] = ()
    no_toy: str = ""
    no_cnn: str = "no network has been trained for it"
    left: str = ""


_SHARE = "% of features"
_POINTS = "points of features more"
_LEFT = "% of the variation left"
_ANY_LR = "at every lr of like accuracy, each optimizer's at its own equal sum of lr"
_PAIRS = "of pairs of settings (rises less falls)"


def _digits(id: str, label: str = "", unit: str | None = None, about: str = "") -> Shown:
    return Shown(id, label, 1, unit, "digits", about)


def _cifar(id: str, label: str = "", about: str = "") -> Shown:
    """Of the study on CIFAR-10: of one of its primary contrasts."""
    return Shown(id, label, data="CIFAR-10", about=about)


def _beside(id: str, label: str, about: str = "") -> Shown:
    """Of the same study: of a contrast that its protocol calls exploratory."""
    return _cifar(id, f"{label} (exploratory)", about)


PAPER = (
    Row(
        "S1",
        "filters die",
        "With BatchNorm, ReLU, an adaptive optimizer and L2 some filters end up active for no image",
        "max |activation| < 1e-12 over all images",
        (Shown("S1 toy", "", 100, _SHARE),),
        (
            # No answer to the toy's claim, which is about their mean.
            _digits("S1", "every adaptive optimizer, each at its tuned lr", about="every"),
            _digits("S1 any lr", f"every adaptive optimizer, {_ANY_LR}", about="every"),
            _cifar("S1 cifar"),
        ),
    ),
    Row(
        "S2",
        "only if regularized",
        "Without a regularizer none does",
        "share of dead filters = 0 at lambda = 0",
        (Shown("S2 toy", "", 100, _SHARE),),
        (
            _digits("S2", "every optimizer at every lr", "% of filters"),
            _cifar("S2 cifar"),
            _beside("S2 cifar strict", "every optimizer at every lr"),
        ),
    ),
    Row(
        "S3",
        "adaptive optimizers",
        "Adaptive optimizers kill far more filters than SGD and momentum",
        "dead(Adam, RMSprop, ...) > dead(SGD, momentum) at one lambda",
        (
            Shown("S3 toy", "features that can replace each other", 100, _POINTS),
            Shown("S3 alone", "a feature alone", 100, _POINTS),
        ),
        (
            _digits("S3", "each at its tuned lr", "points of filters more"),
            _digits("S3 any lr", _ANY_LR, "points of filters more"),
            _digits("S3 any lr steps", "at every such lr, equal steps", "points of filters more", "run length"),
            _cifar("S3 cifar", "each at its tuned lr"),
            _beside("S3 cifar every", "every adaptive optimizer", "every"),
            _beside("S3 cifar matched", "at like error", "like error"),
            _beside("S3 cifar sum", "each at a third of its lr for three times the epochs", "sum of lr"),
        ),
    ),
    Row(
        "S4",
        "L2 or decay",
        "Under adaptive optimizers L2 kills more than weight decay",
        "L2: g + lambda w goes into the rule; decay: w - lambda m w after it, m the schedule, lr left out",
        (
            Shown(
                "S4",
                "decay x lr, as torch has it, which by construction kills none here",
                100,
                _POINTS,
                about="decay x lr",
            ),
            Shown(
                "S4 schedule",
                "decay without lr, weak, which by construction kills none here",
                100,
                _POINTS,
                about="decay without lr",
            ),
            Shown("S4 schedule strong", "decay without lr, strong", 100, _POINTS, about="decay without lr"),
        ),
        (
            _cifar("S4 cifar", "decay without lr", "decay without lr"),
            _beside("S4 cifar every", "decay without lr, every optimizer, both strengths", "every"),
            _beside("S4 cifar matched", "decay without lr, at like error", "like error"),
            _beside("S4 cifar torch", "decay x lr, as torch has it", "decay x lr"),
        ),
    ),
    Row(
        "S5a",
        "batch size",
        "Larger batches kill fewer",
        "P(no gradient in a batch of B) = s^B, s the selectivity",
        (
            Shown("S5a", "equal epochs", 100, "points of features a doubling of the batch", about="epochs"),
            Shown("S5a steps", "equal steps", 100, "points of features a doubling of the batch", about="steps"),
        ),
        (
            _cifar("S5a cifar", "equal epochs", "epochs"),
            _beside("S5a cifar steps", "equal steps", "steps"),
            _beside("S5a cifar scaled", "equal epochs, lr by the root of the batch", "epochs"),
        ),
    ),
    Row(
        "S5b",
        "network size",
        "Smaller networks lose a smaller share",
        "share of dead filters rises with the width",
        (Shown("S5b", "", 100, "points of features a doubling of the network"),),
        (_cifar("S5b cifar"),),
    ),
    Row(
        "S5c",
        "difficulty",
        "Harder tasks kill fewer",
        "share of dead filters falls with larger gradients, more classes, wrong labels",
        (Shown("S5c", "", 100, "points of features a doubling of the gradients"),),
        (
            _cifar("S5c cifar", "more classes"),
            _beside("S5c cifar noise", "more classes, with wrong labels"),
            _beside("S5c cifar labels", "wrong labels"),
        ),
    ),
    Row(
        "S6",
        "selectivity",
        "The reason: L2 pulls disproportionately hard at selective features",
        "pull = lr lambda w / (sigma sqrt(p)), p = 1 - s the arrival",
        (
            Shown("S6", "under Adam the pull grows as 1/sqrt(arrival): exponent", 1, "", about="pull"),
            Shown(
                *("S6 half power", "under every adaptive rule", 1),
                "times 1/sqrt(arrival) under the slowest (Adadelta)",
                about="every rule",
            ),
            Shown("S6 alone capacity", "it alone explains S5b", 100, _LEFT, about="S5b"),
            Shown("S6 alone difficulty", "it alone explains S5c", 100, _LEFT, about="S5c"),
        ),
        (
            _digits("S6 digits", "the regularizer's share of a scale's updates rises with selectivity", about="share"),
            _digits("S6 digits dies", "selective filters die", about="dies"),
            _cifar("S6 cifar", "the regularizer's share of a scale's updates rises with selectivity", "share"),
            _beside("S6 cifar dies", "selective filters die", "dies"),
        ),
    ),
    Row(
        "S7",
        "Adam's features",
        "Adam learns more selective features than SGD",
        "s = share of images below 1e-3 of the feature's largest activation",
        (Shown("S7 toy", "", 100, "points of selectivity more"),),
        (_cifar("S7 cifar"), _beside("S7 cifar momentum", "against momentum")),
    ),
    Row(
        "S8",
        "strength of L2",
        "Through an adaptive rule L2 regularizes harder than weight decay",
        "pull of L2 / pull of decay = 1/(sqrt(v) + eps)",
        (
            Shown("S8 silent", "no gradient", 1, "times fewer steps"),
            Shown("S8 selective", "small gradients"),
            Shown("S8 always", "large gradients"),
        ),
        no_cnn="it speaks of one weight's update; what follows for networks is S4",
    ),
    Row(
        "S9",
        "removal",
        "Dead filters can be removed at no cost; looser thresholds find about as many",
        "dead: max |activation| < 1e-12, or |gamma| < 1e-3",
        (Shown("S9 outputs", "removal", about="removal"),),
        (
            _digits("S9", "removal", "test images", "removal"),
            _digits("S9 thresholds activation", "ten times the threshold on activation", about="activation"),
            _digits("S9 thresholds scale", "ten times the threshold on gamma", about="scale"),
            _digits("S9 zeroing scale", "small gammas put to 0", "test images", "zeroing"),
            _beside("S9 cifar", "removal", "removal"),
            _beside("S9 cifar activation", "threshold on activation 1e-4", "activation"),
            _beside("S9 cifar scale", "threshold on gamma 1e-2", "scale"),
            _beside("S9 cifar zeroing", "small gammas put to 0", "zeroing"),
        ),
    ),
    Row(
        "S10",
        "pruning methods",
        "More filters go than by L1 norms (Li et al.), about as many as by Network Slimming (Liu et al.)",
        "share of filters gone at equal test error",
        (),
        (
            _digits("S10 l1", "L1 norms"),
            _digits("S10 gamma", "Slimming"),
            _cifar("S10 cifar l1", "L1 norms"),
            _cifar("S10 cifar slimming", "Slimming"),
        ),
        no_toy="a toy world is no network to prune",
        left="VGG-11 on ImageNet: such trainings take days on a GPU",
    ),
    Row(
        "S11",
        "knobs",
        "Strength and learning rate set how many die",
        "share of dead filters rises with lambda and with lr",
        (
            Shown("S11 toy", "strength", 1, _PAIRS, about="strength"),
            Shown("S11 lr", "learning rate", 1, _PAIRS, about="lr"),
        ),
        (
            _beside("S11 cifar strength", "strength", "strength"),
            _beside("S11 cifar lr", "learning rate", "lr"),
        ),
    ),
    Row(
        "S12",
        "a criterion",
        "Removing the most selective features is itself a pruning criterion",
        "remove where s is largest",
        (Shown("S12 toy", "against chance", 100, "% of loss saved", about="chance"),),
        (
            _digits("S12 selective random adam", "further than chance", about="chance"),
            _digits("S12 selective gamma adam", "less far than abs(gamma)", about="gamma"),
        ),
    ),
    Row(
        "S13",
        "no cost",
        "Sparsity costs no test error: sparse networks err as often as dense ones",
        "test error(sparse) - test error(dense) <= 0",
        (),
        (_cifar("S13 cifar", "against no regularizer"), _beside("S13 cifar dense", "against SGD with L2", "dense")),
        no_toy="toy worlds have no test images",
    ),
)

"""The report's chapters: what is told in which order, with which pictures, on which worlds, and the pictures of networks. No
numbers stand here: those come from the data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PictureSource:
    """A picture: its name, which is that of the module of figures that draws it or of a figure that a user's file declares, and
    the worlds whose datasets it takes, in that order."""

    name: str
    worlds: tuple[str, ...]


@dataclass(frozen=True)
class Chapter:
    """Title, what a reader should know before the pictures, the pictures, and the worlds whose claims stand here."""

    title: str
    text: str
    pictures: tuple[PictureSource, ...]
    worlds: tuple[str, ...]


CHAPTERS = (
    Chapter(
        "A weight that the loss no longer sees",
        "A feature that no image of the batch excites gets no gradient. What is left is the regularizer. Weight decay takes "
        "off a share of the weight, so that it never quite goes. L2 joins the gradient, and an adaptive rule divides every "
        "gradient by the root of its own mean square: a lone pull, however weak, is blown up to about one learning rate a step. "
        "The weight is gone after a fixed number of steps, and the strength hardly matters.",
        (PictureSource("silence", ("silence",)),),
        ("silence", "laws"),
    ),
    Chapter(
        "Now and then a gradient",
        "Real features hear from some images. When gradients come, they fill the mean square, and L2 is divided by their size: "
        "it is the stronger regularizer only while gradients are small. The rarer they come, the smaller their mean square "
        "is, and the harder L2 pulls: a selective feature sees more of the regularizer than one that every image excites. "
        "That is the paper's hypothesis, and it can be followed for every rule.",
        (
            PictureSource("crossover", ("selective",)),
            PictureSource("pull", ("selectivity",)),
        ),
        ("selective", "selectivity"),
    ),
    Chapter(
        "The critical selectivity",
        "Between two gradients the mean square fades by beta2 a step, so that 1/sqrt(v) grows by 1/sqrt(beta2), while silences "
        "of a given length become rarer by the selectivity s a step. The mean of 1/sqrt(v), and with it the mean pull, is "
        "finite only while s is below sqrt(beta2). An epoch that visits each image once bounds the silence.",
        (
            PictureSource("critical", ("visits",)),
            PictureSource("rest", ("rest",)),
        ),
        ("visits", "rest"),
    ),
    Chapter(
        "Where features die",
        "Whether a feature dies within a run depends on whether one of its silences lasts as long as death takes. Both can be "
        "computed: how long death takes from the residue of the last gradients, how likely such a silence is from the rate at "
        "which gradients come. The boundary is drawn over simulations that know nothing of it.",
        (
            PictureSource("phase", ("phase_selectivity",)),
            PictureSource("phase", ("phase_rate",)),
            PictureSource("phase", ("phase_batch",)),
            PictureSource("phase", ("phase_epoch",)),
        ),
        ("phase_selectivity", "phase_rate", "phase_batch", "phase_epoch"),
    ),
    Chapter(
        "Batch size, capacity, difficulty",
        "The paper finds less sparsity with larger batches, smaller networks and harder tasks, and explains all three by "
        "selectivity: a larger batch more often holds an image that excites the feature, a smaller network asks more of each "
        "feature, a harder task keeps gradients alive. Here each knob is turned alone, and cells of equal selectivity are held "
        "beside each other.",
        (
            PictureSource("batch", ("minibatch",)),
            PictureSource("capacity", ("capacity",)),
            PictureSource("difficulty", ("difficulty",)),
        ),
        ("minibatch", "decays", "starvation", "batch_rest", "capacity", "difficulty"),
    ),
    Chapter(
        "A feature with BatchNorm and ReLU",
        "A feature is relu(gamma x + beta) of a normalized x. Where beta lies far enough below -|gamma| no image can excite it, "
        "and nothing but the regularizer moves it. SGD and weight decay keep the ratio of the two, so a dead feature stays "
        "where it is; Adam + L2 moves both by equal steps, which changes the ratio.",
        (
            PictureSource("plane", ("plane",)),
            PictureSource("feature", ("feature",)),
            PictureSource("compete", ("compete",)),
        ),
        ("plane", "cone", "residue", "walk", "feature", "compete"),
    ),
    Chapter(
        "How large weights become",
        "Where gradients are noise, weights settle at a size at which noise and regularizer balance; on a quadratic loss they "
        "settle where loss and regularizer do; under a learning-rate schedule they lag behind it. Each has a formula.",
        (
            PictureSource("equilibrium", ("noise",)),
            PictureSource("minima", ("quadratic",)),
            PictureSource("schedules", ("scheduled",)),
        ),
        ("noise", "scale_invariant", "quadratic", "noisy_quadratic", "stability", "bounded", "scheduled"),
    ),
)

# The experiments with networks, whose pictures `undertow.reproduce` draws.
_OF_NETWORKS = {
    "pocket": "alive", "long": "alive", "thresholds": "thresholds", "watched": "watched", "compare": "pruning",
    "paper": "optimizers", "interventions-digits": "interventions", "interventions-cifar": "interventions",
    "forecast": "forecast", "forecast-dial": "forecast",
}  # fmt: skip


def picture_of(experiment: str) -> str:
    """The picture in which an experiment is seen first, empty if there is none."""
    every = (picture for chapter in CHAPTERS for picture in chapter.pictures)
    seen = (picture.name for picture in every if experiment in picture.worlds)
    return next(seen, _OF_NETWORKS.get(experiment, ""))

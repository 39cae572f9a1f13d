"""Batch size, capacity and difficulty: which features die, and whether selectivity alone decides (S4, S5, S6, E3, E7-E9)."""

from __future__ import annotations

from evidence.claim import Claim, above, below, never_above, within
from synthetic.claims.gating_estimates import (
    batch_alone,
    batch_drift,
    batch_trend,
    beyond_critical,
    capacity_alone,
    capacity_drift,
    capacity_trend,
    decay_size_trend,
    difficulty_alone,
    difficulty_trend,
    l2_less_decay,
    rest_across_batches,
    shared_error,
    silent_error,
    starvation_error,
)

_MEHTA = "Mehta, Kim, Theobalt 2019, arXiv 1905.04967"
_DERIVED = "derived here"
_ADAPTIVE, _PLAIN = ["adam", "rmsprop"], ["sgd", "momentum"]
CLAIMS = (
    *(
        Claim(
            row,
            f"At strength {strength:g} and lr 0.01, 2048 steps, Adam loses more features to L2 than to {words}, over all batch "
            "sizes and selectivities.",
            _MEHTA,
            "decays",
            l2_less_decay(decay, strength),
            above(0),
            "interval above 0",
        )
        for row, strength, decay, words in (
            ("S4", 1e-2, "decoupled_lr", "weight decay x lr (which alone takes a weight to 0.81 of itself)"),
            ("S4 schedule", 1e-3, "decoupled_schedule", "decay that takes strength x w a step, as the paper states it"),
            (
                "S4 schedule strong",
                1e-2,
                "decoupled_schedule",
                "decay that takes strength x w a step, as the paper states it",
            ),
        )
    ),
    Claim(
        "S5a",
        "Larger batches lose fewer features: after 4 epochs each, batches of 1 to 32 of 512 images, Adam and RMSprop with L2.",
        _MEHTA,
        "minibatch",
        batch_trend(_ADAPTIVE, ["epochs"]),
        below(0),
        "interval below 0",
        figure="batch",
    ),
    Claim(
        "S5a steps",
        "Larger batches lose fewer features even after equally many steps (2048), Adam and RMSprop with L2.",
        _MEHTA + ", read at equal steps",
        "minibatch",
        batch_trend(_ADAPTIVE, ["steps"]),
        below(0),
        "interval below 0",
        figure="batch",
    ),
    Claim(
        "S5 sgd",
        "Under SGD (lr 0.1) and momentum (lr 0.01) with L2 of strength 0.01, the batch size changes nothing in how many features "
        "die in up to 2048 steps (equal epochs and equal steps together; L2 alone takes a weight to 0.13, above the floor).",
        _MEHTA + ", the margin chosen here",
        "minibatch",
        batch_trend(_PLAIN, ["epochs", "steps"]),
        within(-0.005, 0.005),
        "interval within 0.5% of the features a doubling",
        figure="batch",
    ),
    Claim(
        "S5b",
        "Smaller networks lose a smaller share of their features: 16 to 1024 features for 512 patterns, Adam with L2, 2048 steps.",
        _MEHTA,
        "capacity",
        capacity_trend("adam"),
        above(0),
        "interval above 0",
        figure="capacity",
    ),
    Claim(
        "S5b sgd",
        "Under SGD (lr 0.1) with L2 of strength 0.01, the number of features changes nothing in which share dies, 2048 steps "
        "(L2 alone takes a weight to 0.13, above the floor).",
        _MEHTA + ", the margin chosen here",
        "capacity",
        capacity_trend("sgd"),
        within(-0.005, 0.005),
        "interval within 0.5% of the features a doubling",
        figure="capacity",
    ),
    Claim(
        "S5c",
        "Harder tasks lose fewer features, hard meaning that gradients stay large (0.1 to 10 times), Adam with L2, 2048 steps.",
        _MEHTA + "; the model of difficulty is ours",
        "difficulty",
        difficulty_trend("adam", "scale"),
        below(0),
        "interval below 0",
        figure="difficulty",
    ),
    Claim(
        "S5c patterns",
        "Harder tasks lose fewer features, hard meaning more patterns (32 to 512 for 64 features), Adam with L2, 2048 steps.",
        _MEHTA + "; the model of difficulty is ours",
        "difficulty",
        difficulty_trend("adam", "patterns"),
        below(0),
        "interval below 0",
        figure="difficulty",
    ),
    Claim(
        "S5c decay",
        "Under Adam with weight decay x lr, the scale of the gradients (0.1 to 10 times) changes nothing in the features' size.",
        _DERIVED + " (B9); the margin chosen here",
        "difficulty",
        decay_size_trend,
        within(-0.001, 0.001),
        "interval within 0.001 a doubling",
        "(c g, c eps) moves AdamW as (g, eps) does",
        "difficulty",
    ),
    Claim(
        "S5c sgd",
        "Under SGD (lr 0.1) with L2 of strength 0.01, gradients of any scale (0.1 to 10) lose equally many features, 2048 steps "
        "(L2 alone takes a weight to 0.13, above the floor).",
        _MEHTA + ", the margin chosen here",
        "difficulty",
        difficulty_trend("sgd", "scale"),
        within(-0.005, 0.005),
        "interval within 0.5% of the features a doubling",
        figure="difficulty",
    ),
    *(
        Claim(
            f"S6 alone {axis}{word}",
            f"{subject} acts through batch selectivity P(no gradient) alone: at equal P(no gradient) and different {varied}, "
            f"{said}, 2048 steps.",
            _MEHTA + ", read as a statement about one number; the margin chosen here",
            experiment,
            alone(coupling, outcome),
            below(0.1),
            "interval below a tenth",
            figure=axis,
        )
        for axis, experiment, subject, varied, alone in (
            ("batch", "minibatch", "Batch size", "batch size and selectivity", batch_alone),
            ("capacity", "capacity", "Capacity", "batch size and number of features", capacity_alone),
            ("difficulty", "difficulty", "Difficulty", "scale of the gradient", difficulty_alone),
        )
        for word, coupling, outcome, said in (
            ("", "l2", "dead", "Adam + L2 loses the same share of features"),
            (" size", "l2", "size", "Adam + L2 leaves features of the same mean size"),
            (" decay", "decoupled_lr", "size", "Adam + weight decay x lr leaves features of the same mean size"),
        )
    ),
    *(
        Claim(
            f"S6 alone {axis} trend",
            "At equal P(no gradient), Adam + L2 loses as many features in small batches as in large ones that meet "
            f"{varied}, 2048 steps.",
            _MEHTA + ", read as a statement about one number; the margin chosen here",
            experiment,
            drift,
            within(-0.01, 0.01),
            "interval within 1% of the features a doubling of the batch",
            figure=axis,
        )
        for axis, experiment, varied, drift in (
            ("batch", "minibatch", "rarer features", batch_drift),
            ("capacity", "capacity", "larger networks", capacity_drift),
        )
    ),
    Claim(
        "E3",
        "A batch of B brings a feature no gradient with probability s^B, within 0.02, for batches up to a sixteenth of an epoch "
        "that holds every image once.",
        _DERIVED,
        "minibatch",
        silent_error("silent_independent"),
        never_above(0.02),
        "every batch size and selectivity within 0.02",
        "P = s^B",
        "batch",
    ),
    Claim(
        "E3 epochs",
        "Within epochs that hold every image once, k of the M exciting the feature, that probability is hypergeometric.",
        "elementary",
        "minibatch",
        silent_error("silent_epoch"),
        never_above(0.005),
        "every batch size and selectivity within 0.005",
        "P = C(M-k, B) / C(M, B)",
        "batch",
    ),
    Claim(
        "E3 critical",
        "Beyond the critical selectivity of their batch, most features die under Adam + L2, and most of the others live: the "
        "shares are more than a half apart (beta2 0.99, 2048 steps).",
        _DERIVED + ", the margin too",
        "minibatch",
        beyond_critical,
        above(0.5),
        "interval above 0.5",
        "s_c = beta2^(1/(2 B))",
        "batch",
    ),
    Claim(
        "E7 l2",
        "Where noise dominates, Adam + L2 leaves a feature at the same mean weight whatever the batch size (1 to 16).",
        _DERIVED,
        "batch_rest",
        rest_across_batches("l2"),
        within(0.9, 1.1),
        "interval within 10% of the formula",
        "w = p h w*/(p h + lambda), free of B",
    ),
    Claim(
        "E7 adamw",
        "Where noise dominates, Adam + weight decay shrinks a feature less the larger the batch, as if by L2 of strength "
        "lambda sigma sqrt(p/B).",
        _DERIVED,
        "batch_rest",
        rest_across_batches("decoupled_lr"),
        within(0.9, 1.1),
        "interval within 10% of the formula",
        "w = p h w*/(p h + lambda sigma sqrt(p/B))",
    ),
    Claim(
        "E8",
        "With independent batches, a feature that one image of 512 excites sees L steps or more without it among 2048 as often as "
        "the recursion for success runs says.",
        _DERIVED + "; Feller 1968, volume 1, XIII.7",
        "starvation",
        starvation_error("independent"),
        never_above(0.1),
        "every batch size and length within 0.1",
        "P = 1 - exp(-((n-L) p_b + 1)(1-p_b)^L), exact by recursion; p_b = 1 - s^B",
        "batch",
    ),
    Claim(
        "E8 epochs",
        "Where every epoch holds every image once, it sees L steps or more without the image as often as with independent batches.",
        "supposed here",
        "starvation",
        starvation_error("epochs"),
        never_above(0.1),
        "every batch size and length within 0.1",
        "the same; but no run within epochs is longer than 2 M/B - 2",
        "batch",
    ),
    Claim(
        "E9 l2",
        "K = 16 to 1024 features that fit one target together, under Adam + L2: each keeps a weight in proportion to its p.",
        _DERIVED + ", ridge regression",
        "capacity",
        shared_error("l2"),
        never_above(0.01),
        "every weight within 1%",
        "w_k = p_k Y/(lambda + sum p^2)",
        "capacity",
    ),
    Claim(
        "E9 adamw",
        "K = 16 to 1024 features that fit one target together, under Adam + weight decay x lr, from equal weights, without noise: "
        "all keep one weight, whatever their p and their number.",
        _DERIVED,
        "capacity",
        shared_error("decoupled_lr"),
        never_above(0.01),
        "every weight within 1%",
        "w_k = min(Y/sum p, 1/lambda)",
        "capacity",
    ),
)

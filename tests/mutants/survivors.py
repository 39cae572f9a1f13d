"""Mutants that no trajectory can tell from the original, with the reasons."""

from __future__ import annotations

_FINITE = "0 times anything finite is 0"
_UNUSED = "stands in where the result is not used; any number at which nothing is divided by 0 serves"
_BOTH_START_AT_1 = "all powers are 1 before the first step and below it after"
_SHARE = (
    "schedule-free's z is w until the first lr above 0, and nothing moves: a share of 0 / 1 or any other has no effect"
)
_NO_STEP = "where the norm is 0, so is what the ratio multiplies"
_SAME_SHAPE = "gradient and buffer have the weight's shape"
_NOT_MOVED_YET = "w is still start there"

# target -> statement -> reason -> what may stand in its place.
_WHY: dict[str, dict[str, dict[str, list[str]]]] = {
    "rmsprop_centered.step": {
        "m = alpha * m + (1 - alpha) * g": {
            "m enters by its square alone, and its sign turns as a whole": ["m = alpha * m - (1 - alpha) * g"]
        }
    },
    "radam.step": {
        "rho = where(tame, rho, 6.0)": {_UNUSED: ["rho = where(tame, rho, 7.0)"]},
        "rho_inf = where(tame, rho_inf, 6.0)": {
            _UNUSED: ["rho_inf = where(tame, rho_inf, 0)", "rho_inf = where(tame, rho_inf, 7.0)"]
        },
        "tame = rho > 5": {"rho is 5 to the last bit at no step of the settings": ["tame = rho >= 5"]},
    },
    "adan.step": {
        "change = where(power1 < 1, g - last, 0 * g)": {
            _FINITE: [
                f"change = where(power1 < 1, g - last, {zero})"
                for zero in ("0", *(f"0 * {x}" for x in ("w", "m", "d", "n", "last")))
            ],
            _BOTH_START_AT_1: [f"change = where({power} < 1, g - last, 0 * g)" for power in ("power2", "power3")],
        }
    },
    "schedule_free.step": {
        "share = where(weights > 0, weight / where(weights > 0, weights, 1.0), 0.0)": {
            _SHARE: [
                "share = weight / where(weights > 0, weights, 1.0)",
                "share = where(power2 > 0, weight / where(weights > 0, weights, 1.0), 0.0)",
                "share = where(weights > -1, weight / where(weights > 0, weights, 1.0), 0.0)",
                "share = where(weights > 0, weight / where(weights > 0, weights, 1.0), 1.0)",
                "share = where(weights >= 0, weight / where(weights > 0, weights, 1.0), 0.0)",
            ],
            _UNUSED: [
                "share = where(weights > 0, weight / where(weights > 0, weights, 0.5), 0.0)",
                "share = where(weights > 0, weight / where(weights > 0, weights, 2.0), 0.0)",
            ],
            "weights, a sum of squares of lr_max, is above 0 where lr_max is": [
                "share = where(lr_max > 0, weight / where(weights > 0, weights, 1.0), 0.0)",
                "share = where(weights > 0, weight / where(lr_max > 0, weights, 1.0), 0.0)",
            ],
        }
    },
    "lars.step": {
        "moves = where(slope > 0, slope, 1.0)": {
            _UNUSED: ["moves = where(slope > 0, slope, 0.5)", "moves = where(slope > 0, slope, 2.0)"]
        },
        "ratio = where(size > 0, where(slope > 0, trust * size / (moves + eps), 1.0), 1.0)": {
            _NO_STEP: [
                "ratio = where(size > 0, trust * size / (moves + eps), 1.0)",
                *(
                    f"ratio = where(size > 0, where({condition}, trust * size / (moves + eps), 1.0), 1.0)"
                    for condition in ("moves > 0", "size > 0", "slope > -1", "slope >= 0")
                ),
                *(
                    f"ratio = where(size > 0, where(slope > 0, trust * size / (moves + eps), {other}), 1.0)"
                    for other in ("0", "0.5", "2.0")
                ),
            ]
        },
    },
    "lamb.step": {
        "moves = where(length > 0, length, 1.0)": {
            _UNUSED: ["moves = where(length > 0, length, 0.5)", "moves = where(length > 0, length, 2.0)"]
        },
        "ratio = where(size > 0, where(length > 0, lr * size / moves, 1.0), 1.0)": {
            _NO_STEP: [
                "ratio = where(size > 0, lr * size / moves, 1.0)",
                *(
                    f"ratio = where(size > 0, where({condition}, lr * size / moves, 1.0), 1.0)"
                    for condition in ("length > -1", "length >= 0", "moves > 0", "size > 0")
                ),
                *(
                    f"ratio = where(size > 0, where(length > 0, lr * size / moves, {other}), 1.0)"
                    for other in ("0", "0.5", "2.0")
                ),
            ]
        },
    },
    "muon.step": {
        "return (w - lr * shape_factor(w) * orthogonal(ahead, eps), m)": {
            _SAME_SHAPE: [
                f"return (w - lr * shape_factor({other}) * orthogonal(ahead, eps), m)" for other in ("g", "m")
            ]
        }
    },
    "_update": {
        "moved = step(w, g, pull, *inner, lr, *hyper)[0]": {
            _NOT_MOVED_YET: ["moved = step(start, g, pull, *inner, lr, *hyper)[0]"]
        },
        "pull = pull + cautious * ((1 - grows(moved, start)) * start)": {
            _NOT_MOVED_YET: [
                "pull = pull + cautious * ((1 - grows(moved, start)) * w)",
                "pull = pull + cautious * ((1 - grows(moved, w)) * start)",
            ],
            "no coupling opens a second door beside this one": [
                "pull = cautious * ((1 - grows(moved, start)) * start)"
            ],
        },
        "pull = 0 if share is None else share * w": {_NOT_MOVED_YET: ["pull = 0 if share is None else share * start"]},
        "w = w - before * w": {_NOT_MOVED_YET: ["w = start - before * w", "w = w - before * start"]},
        "return step(w, g, pull, *inner, lr, *hyper)": {
            _NOT_MOVED_YET: ["return step(start, g, pull, *inner, lr, *hyper)"]
        },
    },
}

# target -> change, as a mutant is named -> reason.
EQUIVALENT: dict[str, dict[str, str]] = {
    target: {
        f"{old} => {new}": reason
        for old, reasons in statements.items()
        for reason, all_new in reasons.items()
        for new in all_new
    }
    for target, statements in _WHY.items()
}

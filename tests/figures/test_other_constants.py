"""Every figure draws its world with other constants: fewer optimizers, one seed where seeds are samples, other settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from matplotlib import pyplot as plt
from pictures import title_of

from evidence.registry import find_world
from synthetic import worlds  # noqa: F401

OTHER: dict[tuple[str, str], dict[str, Any]] = {
    ("silence", "silence"): {"optimizers": ("sgd",), "lr": 1e-2, "strengths": (1e-3,), "steps": 500},
    ("crossover", "selective"): {"optimizers": ("rmsprop",), "arrivals": (1.0,), "sizes": (0.5, 2.0), "seeds": 1},
    ("pull", "selectivity"): {"optimizers": ("adam",), "beta2": 0.95, "seeds": 1, "weights": 2},
    ("critical", "visits"): {"epochs": (20, 50), "seeds": 1, "steps": 2_000},
    ("rest", "rest"): {"optimizers": ("rmsprop",), "times": (1.0, 4.0), "seeds": 1, "steps": 300},
    ("batch", "minibatch"): {"optimizers": ("adam",), "lr": (0.01,), "batches": (2, 8), "exciting": (1, 8), "seeds": 1},
    ("capacity", "capacity"): {"optimizers": ("adam",), "lr": (0.01,), "networks": (16, 64), "seeds": 1},
    ("difficulty", "difficulty"): {"optimizers": ("adam",), "lr": (0.01,), "scales": (0.5, 2.0), "seeds": 1},
    ("plane", "plane"): {"starts": ((1.0, -0.5),), "steps": 300},
    ("feature", "feature"): {"optimizers": ("adam",), "rates": ((0.01,),), "seeds": 1, "epochs": 2},
    ("compete", "compete"): {"optimizers": ("adam",), "rates": ((0.01, 0.02),), "seeds": 1, "epochs": 2},
    ("equilibrium", "noise"): {
        "optimizers": ("sgd",),
        "sizes": (1.0,),
        "arrivals": (0.5, 1.0),
        "seeds": 1,
        "weights": 2,
    },
    ("minima", "quadratic"): {"optimizers": ("adam", "nadam"), "strengths": (1.0,), "steps": 300},
    ("schedules", "scheduled"): {"optimizers": ("sgd",), "seeds": 1, "weights": 8, "steps": 400},
}


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.grid(7)
@pytest.mark.parametrize(("figure", "world"), OTHER)
def test_a_figure_is_drawn_with_other_constants(figure: str, world: str) -> None:
    data = replace(find_world(world).world, **OTHER[figure, world]).run()  # type: ignore[type-var]
    picture = import_module(f"figures.{figure}").draw(data)
    picture.figure.draw_without_rendering()
    said = f"{picture.alt} {title_of(picture.figure)}"
    shown = data["optimizer"].values.tolist() if "optimizer" in data.coords else ["sgd", "adam"]
    for name, label in {"sgd": "SGD", "adam": "Adam"}.items():
        assert name in shown or f"{label} + L2" not in said

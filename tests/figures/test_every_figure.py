"""What every figure keeps, whatever its data: texts that can be read, a caption with n, the data left as they were, a title
that follows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pictures import assert_readable, title_of
from worlds import (
    CLIFF,
    ENDS,
    FIGURES,
    FILTERS,
    FLAT,
    OPTIMIZERS,
    SEEDS,
    STEEP,
    STRENGTH,
    Change,
    by_threshold,
    changed,
    cnn,
    death,
    drawn,
    measured,
    point,
    seen,
    timed,
)  # fmt: skip

from figures import monitor
from figures.style import save
from synthetic.phase import AXES
from synthetic.plane import Plane

# What each caption must say: how many, and under what.
SAID = {
    "silence": ["n = 1 path", "lr 0.001", "strength 0.01"],
    "crossover": ["n = 3 seeds of 16 weights", "95% t-interval", "strength 0.001"],
    "alive": [f"n = {SEEDS} seeds", "95% t-interval", "232 filters", "L2 0.005", "Adam 0.003"],
    "batch": ["n = 3 seeds of 4 features", "95% t-interval", "strength 0.01", "beta2 0.99", "512 images"],
    "capacity": ["n = 3 seeds of 8 features", "n = 4 networks", "95% t-interval", "512 patterns", "1,024 steps"],
    "difficulty": ["n = 3 seeds of 8 features", "95% t-interval", "1,024 steps", "strength 0.01"],
    "pruning": ["n = 3 seeds", "on digits", "L1 on BatchNorm's scales 0.001", "100 steps"],
    "pruning_vgg16": ["VGG-16", "n = 3 seeds", "above the error of the momentum network", "axis is logarithmic."],
    "pull": ["n = 2 seeds of 2 weights", "800 steps", "0.0050"],
    "critical": ["n = 3 seeds of 3 weights, 8,000 steps"],
    "rest": ["n = 2 seeds of 2 weights and 2,000 steps"],
    "equilibrium": ["n = 3 seeds of 4 weights", "95% t-interval"],
    "minima": ["n = 1 path", "deterministic"],
    "schedules": ["n = 3 seeds of 64 weights", "n = 1 path"],
    "feature": ["n = 5 seeds", "exact 95% binomial interval", "96 steps on 64 images, batch 8", "strength 0.03"],
    "compete": ["n = 4 seeds", "95% t-interval", "20 features, 4 of each", "160 steps on 64 images", "strength 0.005"],
    "plane": ["n = 7 starts", "lr 0.005", "strength 0.2", "1,200 steps", "first 20 steps", "-2.5 abs(gamma)"],
    **{f"phase_{diagram}": ["n = 4 seeds"] for diagram in AXES},
    "thresholds": ["n = 3 seeds", "95% t-interval", "BasicNet on digits", "232 filters", "1,438 training", "359 test"],
    "matched": ["n = 3 seeds", "95% t-interval", "BasicNet on CIFAR-10", "80 in all"],
    "knobs": ["n = 3 seeds", "95% t-interval", "BasicNet on CIFAR-10, Adam + L2"],
    "optimizers": ["n = 3 seeds", "95% t-interval", "BasicNet on CIFAR-10, strength 0.001", "Adam 0.01"],
    "monitor": ["1 came back"],
    "scaling": ["n = 3 repetitions", "some processor, 2 cores", "smallest to largest"],
}  # fmt: skip


@pytest.mark.grid(14)
@pytest.mark.parametrize("name", FIGURES)
def test_it_can_be_read_and_says_how_many_and_leaves_the_data_as_they_were(name: str) -> None:
    before = measured(name).copy(deep=True)
    picture = FIGURES[name][0](measured(name))
    xr.testing.assert_identical(measured(name), before)
    assert picture.name == name
    assert_readable(picture.figure)
    for part in SAID[name]:
        assert part in picture.caption
    if name.startswith("phase"):
        assert f"{before.attrs['lanes']:,} lanes" in picture.caption
    assert len(picture.alt) > 60
    assert picture.alt.endswith(".")
    assert "nan" not in picture.alt


def everywhere(*names: str, value: float) -> list[Change]:
    return [(name, {}, value) for name in names]


# All lost, nothing lost, all alike, far apart: data that crowd the labels or leave nothing to draw.
LOST = everywhere("dead", "unused", value=1.0)
ODD: dict[str, tuple[str, list[Change]]] = {
    "alive, close": ("alive", [("inactive_by_activation", {"optimizer": name, "strength": STRENGTH}, 0.3 + 0.01 * k)
                               for k, name in enumerate(OPTIMIZERS)]),
    "alive, none": ("alive", everywhere("inactive_by_activation", value=0.0)),
    "alive, all": ("alive", [("inactive_by_activation", {"strength": STRENGTH}, 0.99)]),
    "batch, none": ("batch", everywhere("dead", value=0.0)),
    "batch, all": ("batch", everywhere("dead", value=1.0)),
    "capacity, few": ("capacity", everywhere("dead", "unused", "shared", "shared_closed", value=0.01)),
    "capacity, all": ("capacity", everywhere("dead", "unused", "shared", "shared_closed", value=1.0)),
    "difficulty, none": ("difficulty", everywhere("dead", "unused", value=0.0)),
    "difficulty, all": ("difficulty", LOST),
    "pruning": ("pruning", [("test_error", {"criterion": "l1", "training": "adam"}, np.nan),
                            ("test_error", {"criterion": "random"}, 0.0), ("dead_error", {"training": "momentum"}, 0.9),
                            ("dead_reached", {"training": "momentum"}, np.nan)]),
    "critical": ("critical", [("inverse_root", {}, lambda x: 1e6 * x), ("rest", {}, lambda x: 0.01 * x)]),
    "rest": ("rest", [("rest", {"loss": "constant"}, 0.3), ("rest", {"loss": "restoring"}, 1.0)]),
    "minima": ("minima", [("rest", {"coupling": "decoupled_lr"}, 7.0)]),
    "schedules": ("schedules", [("mean_square", {}, lambda x: 12 * x), ("silent", {}, 0.0)]),
    "feature": ("feature", [("inactive", {}, 0), ("inactive", {"optimizer": "rmsprop"}, 1)]),
    "compete": ("compete", [("inactive", {}, 0), ("inactive", {"optimizer": "adam"}, 1)]),
    "matched": ("matched", [("test_error", {"optimizer": ["adam", "sgd"]}, np.nan), ("inactive", {}, 0.0)]),
    "knobs": ("knobs", [("inactive", {"knob": "width"}, np.nan), ("inactive", {"knob": "classes", "seed": 0}, 100.0)]),
    "optimizers": ("optimizers", [("inactive", {}, 100.0), ("test_error", {"optimizer": "adam"}, 90.0)]),
    "phase, none": ("phase_batch", [("dead", {}, 0.0), ("time", {}, np.nan)]),
}  # fmt: skip
OTHERS = {
    "pull": lambda: changed("pull", ("pull", {"optimizer": "adam"}, lambda x: 1e5 * x), ("pull", {"optimizer": "lars"}, 0.0))
    .sel(optimizer=["lars", "adam", "muon"]),
    "equilibrium": lambda: changed("equilibrium", ("mean_square", {}, lambda x: 1e3 * x)).sel(optimizer=["sgd", "adam", "lion"]),
    # Other starts, a narrower cone, and hardly any movement.
    "plane": lambda: Plane(starts=((0.5, -0.2), (0.6, -3.0)), largest=4.0, count=26, strength=1e-3, steps=10).run(),
    "thresholds, none": lambda: by_threshold({0: point([0.0] * 15, [0.0] * 15, [0.1] * 15)}),
    "thresholds, all": lambda: by_threshold({0: point([1.0] * 15, [1.0] * 15, [0.9] * 15)}),
    "thresholds, better": lambda: by_threshold({0: point(FLAT, STEEP, [0.1] * 14 + [0.02])}),
    "thresholds, apart": lambda: by_threshold({0: point(FLAT, STEEP, CLIFF, low=2e-3)}),
    "thresholds, narrow": lambda: by_threshold({0: point(FLAT, STEEP, CLIFF, low=0.5)}),
    "monitor": lambda: seen([death(i % FILTERS, 20 * i + 100, cause) for i, cause in enumerate([*monitor.CAUSES] * 8)])
    .assign_coords(layer=("filter", [f"layer{i % 14}.norm" for i in range(FILTERS)])),
    "scaling, slower": lambda: timed([200, 100, 50, 25], [200, 150, 100]),
    "scaling, alike": lambda: timed([100] * 4, [100] * 3),
    "scaling, one core": lambda: timed([20, 190, 265, 270], [270, 260], cores=1),
}  # fmt: skip


@pytest.mark.grid(14)
@pytest.mark.parametrize("name", [*ODD, *OTHERS])
def test_odd_data_can_be_read(name: str) -> None:
    figure = ODD[name][0] if name in ODD else name.split(",", maxsplit=1)[0]
    data = changed(figure, *ODD[name][1]) if name in ODD else OTHERS[name]()
    picture = FIGURES[figure][0](data)
    assert_readable(picture.figure)
    assert picture.alt.endswith(".")
    assert ("nan" in picture.alt) == (figure == "pruning")  # where no share of dead filters is known
    if figure in ("pull", "equilibrium"):  # nothing of the rules that are not there
        said = [title_of(picture.figure)] + [axes.get_title(loc="left") for axes in picture.figure.axes]
        said += [label.get_text() for axes in picture.figure.axes for label in axes.get_yticklabels()]
        assert not any("Nesterov" in text for text in said)
        assert ("SGD" in " ".join(said)) == ("sgd" in data.optimizer)


def test_the_same_data_give_the_same_file(tmp_path: Path) -> None:
    for name in ("silence", "crossover", "alive"):
        files = []
        for _ in range(2):
            save(drawn(name), tmp_path)
            files.append((tmp_path / f"{name}.svg").read_bytes())
        assert files[0] == files[1]


ADAM, DECAY = {"optimizer": "adam", "coupling": "l2"}, {"optimizer": "adam", "coupling": "decoupled_lr"}
# A figure, what its data are changed to, and what its title, its description and its caption then say.
TOLD: list[tuple[str, list[Change], list[str], list[str], list[str]]] = [
    ("silence", [], ["2,722 steps", "690,773"], [], []),
    ("alive", [("inactive_by_activation", {"optimizer": "adam", "strength": STRENGTH}, 0.63),
               ("inactive_by_activation", {"optimizer": "sgd", "strength": 0.0}, 0.17)], ["63%", "17%"], [], []),
    ("batch", [("dead", ADAM | {"horizon": "steps"}, 0.25), ("dead", ADAM | {"horizon": "steps", "batch": 1}, 0.75),
               ("dead", ADAM | {"horizon": "epochs", "batch": 32}, 0.125)],
     ["75% of the features in batches of 1 and 25% in batches of 32", "-7.1 [-7.1, -7.1] points"],
     ["12%"], ["up to 50% of the features apart"]),
    ("batch", [("dead", {}, 0.0)], ["0% of the features in batches of 1 and 0%"], [], []),
    ("capacity", [("dead", ADAM | {"network": 1024}, 0.5), ("dead", DECAY | {"network": 64, "batch": 8}, 0.25),
                  ("shared", {"coupling": "l2", "network": 1024}, 0.777)],
     ["50% of 1,024", "decay 25% at most"], ["0.78 under L2"], []),
    ("difficulty", [("dead", ADAM | {"patterns": 512, "scale": 0.1}, 0.625), ("dead", DECAY | {"scale": 0.1}, 1.0),
                    ("dead", ADAM | {"patterns": 512, "scale": 10.0}, 0.25),
                    ("dead", ADAM | {"patterns": 32, "scale": 1.0}, 0.875)],
     ["scale 10 to 0.1", "L2 loses 25% to 62%", "decay 0% to 100%"], ["88% with 32"], []),
    ("critical", [("inverse_root", {"epoch": 400, "arrivals": "independent"}, 3.0),
                  ("inverse_root", {"epoch": 400, "arrivals": "once an epoch"}, 6.0), ("on_arrival", {"epoch": 400}, 2.0)],
     ["At 0.5 of the critical arrival", "is 1.5 times", "3 times"], ["ends at 1.5"], []),
    ("minima", [("rest", {"coupling": "l2", "strength": 0.5, "target": 3.0}, 1.25),
                ("rest", {"coupling": "decoupled_lr", "strength": 0.5, "target": 3.0}, lambda x: np.linspace(0.4, 2.3, x.size))],
     ["At w* = 3: L2 leaves the optimizers at 1.25, weight decay from 0.40 to 2.30"], [], []),
    ("minima", ODD["minima"][1], [], [], ["at most 6.8 from them"]),
    ("schedules", [("mean_square", {"schedule": "cosine", "step": 400, "sized": "decoupled_lr"}, 0.071),
                   ("mean_square", {"schedule": "cosine", "step": 400, "sized": "corrected"}, 0.033)],
     ["the rate to 0.50, AdamW's weights are at 0.71 of their size", "at 0.33 and"], [], []),
    ("feature", ODD["feature"][1], ["SGD and momentum 0.0%, Adam and RMSprop 50.0%"], [], []),
    ("feature", [*ODD["feature"][1], ("inactive", {"optimizer": "sgd", "coupling": "l2", "selectivity": 0.8}, 1)],
     ["SGD and momentum 12.5%"], [], []),
    ("compete", ODD["compete"][1], ["Adam + L2 loses 100.0%, SGD + L2 0.0%"], [], []),
    ("compete", [*ODD["compete"][1], ("inactive", {"optimizer": "adam", "copy": 0}, 0)], ["Adam + L2 loses 75.0%"], [], []),
    ("plane", [], ["Of 5 features", "SGD + L2 0, AdamW 0, Adam + L2 2"], [], []),
    ("plane", [("beta", {"update": "sgd", "step": 1200}, -9.0), ("gamma", {"update": "sgd", "step": 1200}, 0.1)],
     ["SGD + L2 5, AdamW 0"], [], []),
    ("phase_batch", [], ["Adam + L2", "at each batch size?", "times what is computed"], ["died."], []),
    ("phase_batch", ODD["phase, none"][1], ["0% of these lanes die"], [], []),
    ("pruning", [], ["Adam and L2 has silenced 50% of the filters", "L1 norm removes 71%, chance 21%"],
     ["abs(gamma) 51% and 61%"], []),
    ("scaling", [], ["4,096 weights at once reach nine tenths of the best speed; 2 threads are 1.93 times as fast as one"],
     ["20 to 270 from 16 to 65,536 weights"], []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "title", "alt", "caption"), TOLD)
def test_the_words_follow_the_data(
    name: str, changes: list[Change], title: list[str], alt: list[str], caption: list[str]
) -> None:
    picture = drawn(name, *changes)
    for parts, text in ((title, title_of(picture.figure)), (alt, picture.alt), (caption, picture.caption)):
        for part in parts:
            assert part in text


def test_data_of_one_network_give_no_interval() -> None:
    for name in ("thresholds, none", "thresholds, all"):
        assert "n = 1 network, so no interval" in FIGURES["thresholds"][0](OTHERS[name]()).caption


def test_labels_stand_where_their_curves_end() -> None:
    lost = {"optimizer": "rmsprop", "strength": STRENGTH, "seed": 1, "epoch": [6.0, 8.0]}
    [axes] = drawn("alive", ("inactive_by_activation", lost, np.nan)).figure.axes
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert len(heights) == len(OPTIMIZERS) + 1
    assert np.diff(sorted(heights.values())).min() >= 0.055 - 1e-9
    [curve] = [c for c in axes.lines if np.isfinite(c.get_ydata()).tolist() == [True] * 3 + [False] * 2]
    low, high = axes.get_ylim()
    assert heights["RMSprop + L2"] == pytest.approx((curve.get_ydata()[2] - low) / (high - low), abs=0.055)
    assert cnn(ENDS).equals(measured("alive"))

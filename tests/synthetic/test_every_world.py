"""What every world keeps: its values are labelled, and neither other seeds nor other rules nor threads change any of them."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import xarray as xr

from synthetic.batch_rest import BatchRest
from synthetic.bounded import Bounded
from synthetic.capacity import Capacity
from synthetic.compete import Compete
from synthetic.cone import Cone
from synthetic.decays import Decays
from synthetic.difficulty import Difficulty
from synthetic.feature import Feature
from synthetic.laws import Laws
from synthetic.minibatch import MiniBatch
from synthetic.noise import Noise
from synthetic.noisy_quadratic import NoisyQuadratic
from synthetic.phase import AXES, Phase
from synthetic.plane import Plane
from synthetic.quadratic import Quadratic
from synthetic.residue import Residue
from synthetic.rest import Rest
from synthetic.scale_invariant import ScaleInvariant
from synthetic.scheduled import Scheduled
from synthetic.selective import Selective
from synthetic.selectivity import Selectivity
from synthetic.silence import Silence
from synthetic.stability import Stability
from synthetic.starvation import Starvation
from synthetic.visits import Visits
from synthetic.walk import Walk

# Each with a few lanes and steps.
WORLDS: dict[str, Any] = {
    "capacity": Capacity(networks=(8, 32), batches=(2, 16), patterns=64, steps=64, seeds=3, followed=4, shared_steps=32),
    "compete": Compete(("sgd", "rmsprop"), ((0.1, 0.2), (0.01, 0.03)), selectivities=(0.5, 0.75),
                       images=32, epochs=4, seeds=3, tuning_seeds=1),
    "difficulty": Difficulty(network=16, scales=(0.25, 1.0), patterns=(8, 64), batches=(2, 8), steps=64, seeds=3, followed=8),
    "feature": Feature(("sgd", "adam"), ((0.1, 0.3), (0.01, 0.03)), selectivities=(0.75, 0.97), images=32, inputs=5,
                       epochs=3, seeds=3, tuning_seeds=2),
    "laws": Laws(draws=3),
    "minibatch": MiniBatch(images=64, batches=(1, 4), exciting=(1, 16), seeds=3, features=2),
    "decays": Decays(images=64, batches=(1, 4), exciting=(1, 16), floor=0.5, seeds=3, steps=256),
    "starvation": Starvation(images=64, batches=(1, 4), lengths=(16, 64), steps=256, seeds=3, features=8),
    "batch_rest": BatchRest(images=64, batches=(1, 4), exciting=16, steps=256, seeds=3, twins=2),
    "noise": Noise(seeds=3, weights=4, settled=30, steps=60),
    **{f"phase {diagram}": Phase(diagram, cells=6, seeds=3, steps=3_000) for diagram in AXES},
    "plane": Plane(steps=50),
    "quadratic": Quadratic(steps=200),
    "noisy_quadratic": NoisyQuadratic(settled=50, steps=200, seeds=3, twins=2),
    "stability": Stability(),
    "bounded": Bounded(steps=200, seeds=3),
    "cone": Cone(steps=300),
    "residue": Residue(),
    "walk": Walk(steps=100, seeds=3, weights=20),
    "rest": Rest(seeds=3, weights=2, steps=300),
    "scale_invariant": ScaleInvariant(seeds=2),
    "scheduled": Scheduled(seeds=3, weights=8, silent_steps=60),
    "selective": Selective(arrivals=(0.001, 0.2), sizes=(0.3, 2.0), settled=300, steps=500, seeds=3, weights=4),
    "selectivity": Selectivity(seeds=3, weights=2, settled=50, steps=100),
    "silence": Silence(lr=0.01, strengths=(0.01, 0.2), steps=2_000, horizon=2_000, records=20),
    "visits": Visits(epochs=(20, 50), seeds=3, weights=2, settled=100, steps=400),
}  # fmt: skip


@cache
def run(name: str) -> xr.Dataset:
    data: xr.Dataset = WORLDS[name].run()
    return data


@pytest.mark.grid(15)
@pytest.mark.parametrize("name", WORLDS)
def test_every_value_is_labelled(name: str) -> None:
    data = run(name)
    for variable in data.data_vars.values():
        # Learning rates that were tried, and the seeds for it, are told beside the outcome and have no names.
        assert set(variable.dims) <= {*data.coords, "candidate", "tuning_seed"}
        assert variable.notnull().any() or variable.name == "time"  # of deaths, where none came
    # As results are kept.
    assert xr.Dataset.from_dict(data.to_dict()).identical(data)


@pytest.mark.grid(15)
@pytest.mark.parametrize("name", WORLDS)
def test_neither_threads_nor_other_seeds_change_a_value(name: str) -> None:
    data, world = run(name), WORLDS[name]
    if "seed" not in data.dims:
        assert world.run(threads=3).identical(data)
        return
    fewer = replace(world, seeds=world.seeds - 1).run(threads=3)
    drawn = [variable for variable in data.data_vars if "seed" in data[variable].dims]
    for variable in drawn:
        np.testing.assert_array_equal(fewer[variable], data[variable].isel(seed=slice(-1)), err_msg=str(variable))
    assert any((data[variable].isel(seed=0) != data[variable].isel(seed=1)).any() for variable in drawn)


# Worlds whose rules need no learning rate of their own beside them.
SEVERAL = {
    name: field.name
    for name, world in WORLDS.items()
    for field in fields(world)
    if field.name == "optimizers" and not isinstance(getattr(world, "lr", None), tuple) and not hasattr(world, "rates")
}


@pytest.mark.parametrize("name", SEVERAL)
def test_nor_do_other_rules(name: str) -> None:
    data, world = run(name), WORLDS[name]
    last = getattr(world, SEVERAL[name])[-1]
    alone = replace(world, **{SEVERAL[name]: (last,)}).run()
    for variable in data.data_vars:
        if "optimizer" in data[variable].dims:
            np.testing.assert_allclose(alone[variable], data[variable].sel(optimizer=[last]), rtol=1e-9)

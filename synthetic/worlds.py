"""The toy worlds under their names, each with the constants that its claims are about."""

from __future__ import annotations

from evidence.registry import world
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
from synthetic.phase import Phase
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

# Worlds that need the compiler, which costs more to start than they do: one process runs them one after the other.
for _diagram in ("selectivity", "rate", "batch", "epoch"):
    world(f"phase_{_diagram}", group="compiler", meaning=2)(Phase(_diagram))

for _name, _world in {
    "silence": Silence(),
    "laws": Laws(),
    "selective": Selective(),
    "selectivity": Selectivity(),
    "visits": Visits(),
    "rest": Rest(),
    "minibatch": MiniBatch(),
    "decays": Decays(),
    "starvation": Starvation(),
    "batch_rest": BatchRest(),
    "capacity": Capacity(),
    "difficulty": Difficulty(),
    "plane": Plane(),
    "cone": Cone(),
    "residue": Residue(),
    "walk": Walk(),
    "feature": Feature(),
    "compete": Compete(),
    "noise": Noise(),
    "scale_invariant": ScaleInvariant(),
    "quadratic": Quadratic(),
    "noisy_quadratic": NoisyQuadratic(),
    "stability": Stability(),
    "bounded": Bounded(),
}.items():
    world(_name)(_world)

# 2: all weights start at the equilibrium's size, and the noise is uniform.
world("scheduled", meaning=2)(Scheduled())

"""A transformation of optax as a subject: no parameters to write, no groups, a learning rate that is a function of the step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from dynamics.given import shown
from dynamics.probe.drive import SHAPES, Array, Drive
from dynamics.probe.subject import Place, Refusal, Run, called

LR = 1e-3
# As the layers of Flax call them, and with them the masks that decide by name.
_PLACES = (("kernel", 2), ("bias", 1), ("scale", 1), ("conv_kernel", 4))


@dataclass(frozen=True)
class Optax:
    """As `Subject` says. make: the transformation, from a learning rate, which may be a function of the count of steps."""

    name: str
    make: Callable[[Any], Any]
    groups: Sequence[Mapping[str, Any]]
    places: Sequence[Place]
    has_rate: bool
    kept: dict[Any, Any] = field(default_factory=dict)

    def run(
        self,
        drives: Mapping[int, Drive],
        dtype: str = "float64",
        absent: Mapping[int, Sequence[int]] = {},
        flags: Mapping[str, Any] = {},
        resumed: int = -1,
    ) -> Run:
        """As `Subject.run` says."""
        import jax
        import jax.numpy as jnp

        if absent or flags or resumed >= 0:
            raise Refusal(f"{self.name}: every parameter has a gradient at every step, and nothing can be set")
        with jax.enable_x64(True):
            schedule = next(iter(drives.values()))
            rates = LR * schedule.base * jnp.asarray(schedule.multipliers)
            names = [p.label for p in self.places]
            start = {
                n: jnp.asarray(drives[k].start if k in drives else np.ones(SHAPES[self.places[k].ndim]), dtype)
                for k, n in enumerate(names)
            }
            given = {n: np.zeros((schedule.steps, *start[n].shape)) for n in names}
            given |= {names[k]: drive.gradients for k, drive in drives.items()}
            if "step" not in self.kept:  # compiled once, with the rates as an argument

                def moved(rates: Any, g: Any, state: Any, w: Any) -> Any:
                    return self.make(lambda count: rates[count]).update(g, state, w)

                self.kept["step"] = jax.jit(moved)
            step = self.kept["step"]
            state = called(self.name, "init", lambda: self.make(lambda count: rates[count]).init(start))
            w: Any = start
            rows: dict[int, list[Array]] = {k: [] for k in drives}
            for t in range(schedule.steps):
                g = {n: jnp.asarray(given[n][t], dtype) for n in names}
                moves, state = called(self.name, f"step {t + 1}", partial(step, rates, g, state, w))
                w = jax.tree.map(lambda x, move: (x + move).astype(x.dtype), w, moves)
                for k, drive in drives.items():
                    rows[k].append(np.asarray(w[names[k]], np.float64))
                    if drive.pinned:
                        w = {**w, names[k]: start[names[k]]}
            kept = {str(x.dtype) for x in jax.tree.leaves(state) if np.ndim(x) > 0}
        return Run(tuple(np.stack(each) for each in rows.values()), frozenset(kept))


def subject_of(given: Any) -> Optax:
    """Of a transformation, or of a function of a learning rate that makes one."""
    places = [Place(0, name, ndim) for name, ndim in _PLACES]
    if callable(getattr(given, "update", None)):
        return Optax("optax transformation", lambda _: given, [{}], places, has_rate=False)
    asked = inspect.signature(given).parameters
    claims = {
        name: p.default
        for name, p in asked.items()
        if isinstance(p.default, int | float) and not isinstance(p.default, bool)
    }

    def make(rate: Any) -> Any:
        found = given(rate)
        if not (callable(getattr(found, "init", None)) and callable(getattr(found, "update", None))):
            raise Refusal(f"the factory made {shown(found)}: a transformation of optax is accepted")
        return found

    claims = {"lr": LR} | {_SPELLED.get(name, name): float(value) for name, value in claims.items()}
    return Optax(f"optax.{given.__name__}", make, [claims], places, has_rate=True)


_SPELLED = {"b1": "beta1", "b2": "beta2", "b3": "beta3", "decay": "alpha"}

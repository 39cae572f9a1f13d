"""The contestants. Each turns a case into a run: no arguments, all steps from the start, the end weights returned.

What keeps it fair:
- a run holds what a user pays at each call, the set-up of states included; compilation does not count, a first run
  before all timing takes it;
- NumPy works in place and folds its scalars: one division and one root a weight and step;
- torch runs the fused float64 optimizer, its gradient written in place;
- optax runs inside one jitted lax.scan, two steps an iteration: the best of 1, 2, 4 and 8 when this was written;
- NumPy draws with SFC64, torch with torch.rand(out=), jax 32-bit integers with threefry: each the fastest of its
  library's generators when this was written;
- the fused kernel goes through the public `simulate`. It holds every hyperparameter a weight, and powers of beta too,
  and works out a pull of 0 toward a target; the others take scalars and are spared the pull.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench.agreement import Weights
from bench.bound import divide_and_root
from bench.work import ARRIVAL, BETA1, BETA2, EPS, LR, SIGMA, STRENGTH, WIDTH, Case
from dynamics.simulate.gradients import selective, silent
from dynamics.simulate.lanes import simulate

Run = Callable[[], Weights]


@dataclass(frozen=True)
class Contestant:
    """prepare: case -> run. needs: modules that must be installed. own: must equal the fused run bit by bit.

    expected: the least ratio hoped for; of fused to it, or, where it has more cores, of it to fused. once: compiles
    nothing and is too slow to run more than once a case. bound: does a part of the work alone, so that its outcome is
    not compared.
    """

    name: str
    prepare: Callable[[Any], Run]
    needs: tuple[str, ...] = ()
    own: bool = False
    cores: int = 1
    expected: float | None = None
    once: bool = False
    bound: bool = False

    def missing(self) -> list[str]:
        """What it needs and is not there, in words."""
        absent = [f"{name}: not installed" for name in self.needs if importlib.util.find_spec(name) is None]
        have = available_cores()
        return absent + ([f"needs {self.cores} cores, here is {have}"] if have < self.cores else [])


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _simulate(case: Case, **how: Any) -> Run:
    lanes = {"lr": LR, "strength": STRENGTH, "beta1": BETA1, "beta2": BETA2, "eps": EPS}
    if case.random:
        lanes |= {"arrival": ARRIVAL, "pull": 0.0, "target": 0.0, "sigma": SIGMA}
    gradient = selective if case.random else silent
    start = case.start()
    return lambda: simulate("adam", "l2", gradient, record=[case.steps], lanes=lanes, start=start, **how).w[0]


def _numpy_plain(case: Case) -> Run:
    """As anyone would write it down from the paper."""

    def run() -> Weights:
        w = case.start()
        m = v = np.zeros(case.lanes)
        generator = np.random.default_rng(0)
        for t in range(1, case.steps + 1):
            g = STRENGTH * w
            if case.random:
                arrives = generator.random(case.lanes) < ARRIVAL
                g = g + np.where(arrives, WIDTH * (generator.random(case.lanes) - 0.5), 0.0)
            m = BETA1 * m + (1 - BETA1) * g
            v = BETA2 * v + (1 - BETA2) * g**2
            mhat = m / (1 - BETA1**t)
            vhat = v / (1 - BETA2**t)
            w = w - LR * mhat / (np.sqrt(vhat) + EPS)
        return w

    return run


def _numpy(case: Case) -> Run:
    def run() -> Weights:
        w = case.start()
        m, v, g, buffer = np.zeros((4, case.lanes))
        power1 = power2 = 1.0
        draw = np.random.Generator(np.random.SFC64(0)).random
        for _ in range(case.steps):
            if case.random:
                draw(out=g)
                g -= 0.5
                g *= WIDTH
                draw(out=buffer)
                np.multiply(g, buffer < ARRIVAL, out=g)
                np.multiply(w, STRENGTH, out=buffer)
                g += buffer
            else:
                np.multiply(w, STRENGTH, out=g)
            m *= BETA1
            np.multiply(g, 1 - BETA1, out=buffer)
            m += buffer
            v *= BETA2
            g *= g
            g *= 1 - BETA2
            v += g
            power1 *= BETA1
            power2 *= BETA2
            np.multiply(v, 1 / (1 - power2), out=buffer)
            np.sqrt(buffer, out=buffer)
            buffer += EPS
            np.divide(m, buffer, out=buffer)
            buffer *= LR / (1 - power1)
            w -= buffer
        return w

    return run


def _torch(case: Case) -> Run:
    import torch

    torch.set_num_threads(1)
    start = torch.from_numpy(case.start())

    def run() -> Weights:
        w = torch.nn.Parameter(start.clone())
        adam = torch.optim.Adam([w], lr=LR, betas=(BETA1, BETA2), eps=EPS, weight_decay=STRENGTH, fused=True)
        generator = torch.Generator().manual_seed(0)
        g = w.grad = torch.zeros_like(start)
        u = torch.empty_like(start)
        for _ in range(case.steps):
            if case.random:
                torch.rand(case.lanes, out=g, generator=generator)
                g.sub_(0.5).mul_(WIDTH)
                torch.rand(case.lanes, out=u, generator=generator)
                g.masked_fill_(u >= ARRIVAL, 0.0)
            adam.step()
        return w.detach().numpy()

    return run


def _optax(case: Case) -> Run:
    # All are read when jax is imported. The process is bound to one core besides; see bench.workers.
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
    import jax
    import jax.numpy as jnp
    import optax

    adam = optax.chain(optax.add_decayed_weights(STRENGTH), optax.adam(LR, b1=BETA1, b2=BETA2, eps=EPS))

    def gradient(w: Any, key: Any) -> Any:
        if not case.random:
            return jnp.zeros_like(w)
        u, z = jax.random.bits(key, (2, case.lanes), jnp.uint32) * 2.0**-32
        return jnp.where(u < ARRIVAL, WIDTH * (z - 0.5), 0.0)

    def step(carry: Any, _: None) -> Any:
        w, state, key = carry
        key, now = jax.random.split(key)
        change, state = adam.update(gradient(w, now), state, w)
        return (optax.apply_updates(w, change), state, key), None

    @jax.jit  # type: ignore[untyped-decorator]
    def every_step(w: Any, key: Any) -> Any:
        return jax.lax.scan(step, (w, adam.init(w), key), None, length=case.steps, unroll=2)[0][0]

    start, key = jnp.asarray(case.start()), jax.random.key(0)
    return lambda: np.asarray(every_step(start, key).block_until_ready())


FUSED = Contestant("fused kernel", _simulate, own=True)
OTHERS = (
    Contestant("fused kernel, two threads", partial(_simulate, threads=2), own=True, cores=2, expected=1.7),
    Contestant("NumPy, plain", _numpy_plain, expected=5.0),
    Contestant("NumPy, in place, hand-tuned", _numpy),
    Contestant("torch.optim.Adam(fused=True)", _torch, ("torch",), expected=3.0),
    Contestant("optax.adam, jit + lax.scan", _optax, ("jax", "optax"), expected=1.5),
    Contestant("the kernel's NumPy reference", partial(_simulate, compiled=False), own=True, once=True),
    Contestant("division and root alone", partial(divide_and_root, 1), expected=0.5, bound=True),
)

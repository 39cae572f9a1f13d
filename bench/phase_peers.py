"""The contestants of the phase diagram, each on two cores as well as its library can.

What keeps it fair, beside what `bench.contestants` says:
- pull, target, sigma and floor are the same for all lanes: the peers take them as scalars and fold them;
- NumPy has no threads and torch draws on one, whatever torch.set_num_threads says: the in-place loop and torch run one
  half of the lanes a Python thread, which took less time than torch's own threads and than smaller parts in turn;
- torch's Adam takes one weight_decay for all: L2 with a strength a lane joins the gradient, in one fused addcmul;
- optax is vectorized over lanes with one count for all, which took no longer than jax.vmap of one lane; it runs as most
  would write it, on XLA's own threads, and in parts that stay in the cache on one XLA device a core;
- that a weight is down at the floor is asked once, for the death noted and for the next step's gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from bench import phase_optax
from bench.agreement import Weights
from bench.bound import divide_and_root
from bench.contestants import Contestant, Run
from bench.phase import FLOOR, LR, PULL, SIGMA, TARGET, WIDTH, Phase
from bench.work import BETA1, BETA2, EPS
from dynamics.simulate.gradients import mortal
from dynamics.simulate.lanes import simulate

# Weights and steps of death from a seed, strengths, arrivals and a number of steps.
Part = Callable[[int, Weights, Weights, int], tuple[Weights, Weights]]


def _fused(case: Phase) -> Run:
    strength, arrival = case.grid()
    lanes = {"lr": LR, "strength": strength, "beta1": BETA1, "beta2": BETA2, "eps": EPS}
    lanes |= {"arrival": arrival, "pull": PULL, "target": TARGET, "sigma": SIGMA, "floor": FLOOR}

    def run() -> Weights:
        path = simulate("adam", "l2", mortal, record=[case.steps], lanes=lanes, watch=FLOOR, threads=case.threads)
        return np.stack([path.w[0], np.asarray(path.passed)])

    return run


def _halves(part: Part, case: Phase) -> Run:
    """A run of equal shares of the lanes, one a thread."""
    strength, arrival = (np.array_split(x, case.threads) for x in case.grid())

    def run() -> Weights:
        with ThreadPoolExecutor(case.threads) as pool:
            parts = pool.map(part, range(case.threads), strength, arrival, [case.steps] * case.threads)
            return np.hstack([np.stack(ends) for ends in parts])

    return run


def _plain(case: Phase) -> Run:
    """As anyone would write it down from the paper."""
    strength, arrival = case.grid()

    def run() -> Weights:
        w = np.ones(case.lanes)
        m = v = np.zeros(case.lanes)
        death = np.full(case.lanes, np.inf)
        generator = np.random.default_rng(0)
        for t in range(1, case.steps + 1):
            seen = (generator.random(case.lanes) < arrival) & (np.abs(w) > FLOOR)
            noise = WIDTH * (generator.random(case.lanes) - 0.5)
            g = np.where(seen, PULL * (w - TARGET) + noise, 0.0) + strength * w
            m = BETA1 * m + (1 - BETA1) * g
            v = BETA2 * v + (1 - BETA2) * g**2
            mhat = m / (1 - BETA1**t)
            vhat = v / (1 - BETA2**t)
            w = w - LR * mhat / (np.sqrt(vhat) + EPS)
            death = np.where(np.isinf(death) & (np.abs(w) <= FLOOR), t, death)
        return np.stack([w, death])

    return run


def _in_place(seed: int, strength: Weights, arrival: Weights, steps: int) -> tuple[Weights, Weights]:
    w, death = np.ones(len(strength)), np.full(len(strength), np.inf)
    m, v, g, buffer = np.zeros((4, len(strength)))
    down, dead, mask = np.zeros((3, len(strength)), dtype=bool)
    power1 = power2 = 1.0
    draw = np.random.Generator(np.random.SFC64(seed)).random
    for t in range(1, steps + 1):
        draw(out=g)
        g *= WIDTH
        np.multiply(w, PULL, out=buffer)
        g += buffer
        g -= WIDTH / 2 + PULL * TARGET
        draw(out=buffer)
        np.less(buffer, arrival, out=mask)
        np.greater(mask, down, out=mask)
        g *= mask
        np.multiply(w, strength, out=buffer)
        g += buffer
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
        np.abs(w, out=buffer)
        np.less_equal(buffer, FLOOR, out=down)
        np.greater(down, dead, out=mask)
        if mask.any():
            death[mask] = t
            dead |= mask
    return w, death


def _torch(seed: int, strength: Weights, arrival: Weights, steps: int) -> tuple[Weights, Weights]:
    import torch

    torch.set_num_threads(1)
    strengths, arrivals = torch.from_numpy(strength), torch.from_numpy(arrival)
    parameter = torch.nn.Parameter(torch.ones_like(strengths))
    w, g, u = parameter.detach(), torch.zeros_like(strengths), torch.zeros_like(strengths)
    parameter.grad = g
    death = torch.full_like(strengths, torch.inf)
    down, dead, mask = torch.zeros((3, len(strength)), dtype=torch.bool)
    adam = torch.optim.Adam([parameter], lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=True)
    generator = torch.Generator().manual_seed(seed)
    lowest = -WIDTH / 2 - PULL * TARGET
    for t in range(1, steps + 1):
        g.uniform_(lowest, lowest + WIDTH, generator=generator).add_(w, alpha=PULL)
        u.uniform_(0.0, 1.0, generator=generator)
        torch.ge(u, arrivals, out=mask)
        g.masked_fill_(mask.logical_or_(down), 0.0).addcmul_(strengths, w)
        adam.step()
        torch.abs(w, out=u)
        torch.le(u, FLOOR, out=down)
        torch.gt(down, dead, out=mask)
        if mask.any():
            death.masked_fill_(mask, t)
            dead.logical_or_(mask)
    return w.numpy(), death.numpy()


OURS = Contestant("fused kernel", _fused, own=True, cores=2)
PEERS = (
    Contestant("NumPy, plain", _plain, cores=2, expected=15.0),
    Contestant("NumPy, in place, hand-tuned", partial(_halves, _in_place), cores=2),
    Contestant("torch.optim.Adam(fused=True)", partial(_halves, _torch), ("torch",), cores=2, expected=8.0),
    Contestant("optax.adam, jit + lax.scan", phase_optax.at_once, ("jax", "optax"), cores=2, expected=5.0),
    Contestant("optax.adam, in parts", phase_optax.in_parts, ("jax", "optax"), cores=2, expected=5.0),
    Contestant("division and root alone", partial(divide_and_root, 2), cores=2, expected=0.5, bound=True),
)

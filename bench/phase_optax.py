"""The phase diagram under jax and optax: all lanes at once on XLA's own threads, or in parts on two XLA devices."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bench.contestants import Run
from bench.phase import FLOOR, LR, PULL, TARGET, WIDTH, Phase
from bench.work import BETA1, BETA2, EPS

# Lanes whose arrays stay in the second-level cache from step to step.
_PART = 4096


def at_once(case: Phase) -> Run:
    """All lanes in one lax.scan; XLA cuts the arrays among its threads."""
    jax, diagram = _jitted(case.steps)
    strength, arrival = case.grid()
    run, key = jax.jit(diagram), jax.random.key(0)
    return lambda: np.asarray(run(key, strength, arrival).block_until_ready())


def in_parts(case: Phase) -> Run:
    """A device a core, each with its share of the lanes, part after part through all steps."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={case.threads}"  # read when jax is imported
    jax, diagram = _jitted(case.steps)
    share = case.lanes // case.threads
    shape = (case.threads, -(-share // _PART), min(share, _PART))
    strength, arrival = (x.reshape(shape) for x in case.grid())
    run, keys = (
        jax.pmap(lambda *x: jax.lax.map(lambda y: diagram(*y), x)),
        jax.random.split(jax.random.key(0), shape[:2]),
    )

    def every_part() -> Any:
        outcome = np.asarray(run(keys, strength, arrival).block_until_ready())
        return np.moveaxis(outcome, 2, 0).reshape(2, -1)

    return every_part


def _jitted(steps: int) -> tuple[Any, Any]:
    """jax, and a function of key, strengths and arrivals that gives end weights and steps of death."""
    os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
    import jax
    import jax.numpy as jnp
    import optax

    def gradient(w: Any, u: Any, z: Any, arrival: Any) -> Any:
        return jnp.where((u < arrival) & (abs(w) > FLOOR), PULL * (w - TARGET) + WIDTH * (z - 0.5), 0.0)

    def diagram(key: Any, strength: Any, arrival: Any) -> Any:
        adam = optax.chain(optax.add_decayed_weights(strength), optax.adam(LR, b1=BETA1, b2=BETA2, eps=EPS))

        def step(carry: Any, t: Any) -> Any:
            w, state, death, key = carry
            key, now = jax.random.split(key)
            u, z = jax.random.bits(now, (2, len(strength)), jnp.uint32) * 2.0**-32
            change, state = adam.update(jax.vmap(gradient)(w, u, z, arrival), state, w)
            w = optax.apply_updates(w, change)
            return (w, state, jnp.minimum(death, jnp.where(abs(w) <= FLOOR, t, jnp.inf)), key), None

        w = jnp.ones(len(strength))
        start = (w, adam.init(w), jnp.full_like(w, jnp.inf), key)
        (w, _, death, _), _ = jax.lax.scan(step, start, jnp.arange(1.0, steps + 1), unroll=2)
        return jnp.stack([w, death])

    return jax, diagram

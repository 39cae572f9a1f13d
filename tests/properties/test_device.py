"""The CUDA simulator: the same lanes as on the CPU. Without a device, numba's own CUDA simulator runs the very same code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynamics.errors import InputError
from dynamics.simulate import schedules
from dynamics.simulate.device import available, on_device
from dynamics.simulate.gradients import mortal, selective, visited
from dynamics.simulate.lanes import simulate

ROOT = Path(__file__).resolve().parents[2]
OWN: dict[str, Any] = {"arrival": 0.4, "pull": 0.5, "target": 1.0, "sigma": 0.3}
WORLDS: dict[str, dict[str, Any]] = {
    "adam": {"rule": "adam", "gradient": selective, "lanes": OWN},
    "sgd": {"rule": "sgd", "gradient": mortal, "lanes": OWN | {"floor": 0.6}, "watch": 0.7},
    "visits": {"rule": "rmsprop", "gradient": visited, "lanes": OWN | {"floor": 0.6, "epoch": 3.0}, "watch": 0.7},
    "lion": {"rule": "lion", "gradient": selective, "lanes": OWN, "schedule": schedules.cosine(20)},
    "takes its pull": {"rule": "schedule_free", "gradient": selective, "lanes": OWN},
}


def both(world: dict[str, Any], lanes: int, record: list[int], compiled: bool = True) -> tuple[Any, Any]:
    """The world's lanes, which differ in learning rate, strength and coupling, on the CPU and on the device."""
    spread = {"lr": np.linspace(0.01, 0.1, lanes), "strength": np.linspace(0, 0.2, lanes)}
    coupling = [("l2", "decoupled_lr", "decoupled_schedule", "none")[k % 4] for k in range(lanes)]
    given = world | {"lanes": world["lanes"] | spread, "coupling": coupling, "record": record, "seed": 7}
    return simulate(**given, compiled=compiled), on_device(**given)


def simulated(name: str) -> None:
    """Where numba simulates CUDA the arithmetic is the processor's: equal to the last bit.

    The processor's compiled loop is its NumPy reference to the last bit (test_simulator), and that needs no compiling.
    """
    cpu, device = both(WORLDS[name], 6, [5, 37], compiled=False)
    assert cpu.w.tobytes() == device.w.tobytes()
    assert np.ptp(cpu.w[-1]) > 0
    if "watch" in WORLDS[name]:
        assert np.isfinite(cpu.passed).any()
        assert cpu.passed.tobytes() == device.passed.tobytes()


@pytest.fixture(scope="module")
def numbas_simulator() -> dict[str, str]:
    """What went wrong in each world, "" where nothing did, in a process of its own: numba decides at its import whether it
    simulates. Scalars that wrap around are what the generator wants."""
    code = "import test_device; test_device.report()"
    paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent), str(ROOT / "tests")])
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def report() -> None:
    """Print for each world what went wrong, as JSON."""
    found = dict.fromkeys(WORLDS, "")
    for name in WORLDS:
        try:
            simulated(name)
        except Exception:
            found[name] = traceback.format_exc()
    print(json.dumps(found))


@pytest.mark.parametrize("name", WORLDS)
def test_the_cuda_code_takes_the_steps_of_the_cpu(name: str, numbas_simulator: dict[str, str]) -> None:
    assert not numbas_simulator[name], numbas_simulator[name]


@pytest.mark.skipif(available(), reason="there is a CUDA device")
def test_without_a_device_it_says_so() -> None:
    with pytest.raises(InputError, match="no CUDA device"):
        on_device("adam", "l2", record=[1])


@pytest.mark.skipif(not available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", WORLDS)
def test_on_a_device_lanes_end_where_they_end_on_the_cpu(name: str) -> None:
    cpu, device = both(WORLDS[name], 10_000, [1_000])
    # Lion's steps are signs: where a rounding turns one, two lanes part by 2 lr; such lanes are rare.
    close = np.isclose(device.w, cpu.w, rtol=1e-9, atol=1e-12)
    assert close.mean() > (0.99 if name == "lion" else 0.9999)

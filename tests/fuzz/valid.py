"""A small valid file of every format that the program reads, and a valid invocation of every command on them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
Content = dict[str, bytes]

WORLDS = '''
"""A world of one's own."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from evidence.claim import above, mean_interval
from evidence.registry import claim, world


@world("coin")
@dataclass(frozen=True)
class Coin:
    """A coin is flipped, again and again."""

    seeds: int = 20
    flips: int = 100
    bias: float = 0.5

    def run(self, threads: int = 1) -> xr.Dataset:
        heads = np.random.default_rng(0).binomial(self.flips, self.bias, self.seeds) / self.flips
        return xr.Dataset({"heads": ("seed", heads)})


@claim("X1", source="common knowledge", experiment="coin", decision=above(0.4))
def half(data):
    """A coin shows heads in more than two fifths of its flips."""
    return mean_interval(data["heads"], "of flips", "seeds")
'''
RULES = """
from dynamics.rule import BELOW_ONE, Rule
from dynamics.words import sign

def _signum(w, g, m, lr, fading):
    m = fading * m + (1 - fading) * g
    return w - lr * sign(m), m

signum = Rule("signum", _signum, ("m",), {}, {"fading": 0.9}, lr=1e-4, label="Signum", ranges={"fading": BELOW_ONE})
"""
NETWORKS = """
from torch import nn


def make():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
"""
WATCHED = """
from pathlib import Path

import torch
from networks import make

from fullscale.monitor import Monitor
from fullscale.monitor.stored import write

net = make()
optimizer = torch.optim.Adam(net.parameters(), weight_decay=0.1)
monitor = Monitor(net, optimizer, interval=1)
for _ in range(3):
    optimizer.zero_grad()
    net(torch.rand(4, 1, 8, 8)).square().sum().backward()
    optimizer.step()
write(Path("monitor.safetensors"), monitor.state_dict())
"""
OPTIMIZERS = """
import torch


def make(parameters):
    return torch.optim.AdamW(parameters)
"""
STUDY = """
name = "little"
title = "A little study"

[fixed]
data = "data"
width = 0.03125
batch = 4
epochs = 1

[axes]
optimizer = ["adam", "sgd"]
coupling = ["l2"]
strength = [1e-3]
seed = [0, 1]

[[override]]
when = { optimizer = "sgd" }
lr = [0.1]
"""
STUDY_PY = """
from fullscale.studies import Study

STUDY = Study("little", "A little study", {"data": "data", "width": 0.03125, "batch": 4, "epochs": 1}, {"seed": [0, 1]})
"""


def idx(array: np.ndarray) -> bytes:
    """An array as an IDX file."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def digits(count: int = 20, side: int = 8) -> Content:
    """A folder of IDX files: two classes, noise."""
    rng, found = np.random.default_rng(0), {}
    for part, n in (("train", count), ("t10k", count // 2)):
        found[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (n, side, side)))
        found[f"{part}-labels-idx1-ubyte"] = idx(np.arange(n) % 2)
    return found


def picture(seed: int, kind: str, side: int = 8) -> bytes:
    """A picture of random pixels, in colour."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def pictures() -> Content:
    """Two classes of pictures, PNG and JPEG."""
    return {
        f"{part}/{c}/{k}.{kind}": picture(7 * k + len(part), kind)
        for part in ("train", "test")
        for c in "ab"
        for k, kind in enumerate(("png", "jpeg"))
    }


def tiny() -> Content:
    """TinyImageNet with two classes."""
    found = {
        "wnids.txt": b"n01\nn02\n",
        "words.txt": b"n01\tcrane\nn02\tgoldfish\n",
        "val/val_annotations.txt": b"val_0.JPEG\tn01\t0\t0\t7\t7\nval_1.JPEG\tn02\t0\t0\t7\t7\n",
    }
    found |= {f"val/images/val_{k}.JPEG": picture(k, "jpeg") for k in range(2)}
    found |= {f"train/n0{c}/images/n0{c}_{k}.JPEG": picture(c + k, "jpeg") for c in (1, 2) for k in range(2)}
    return {f"tiny-imagenet-200/{name}": data for name, data in found.items()}


def cifar() -> Content:
    """CIFAR-10's batches, four images each."""
    rng = np.random.default_rng(0)

    def batch(**more: Any) -> bytes:
        data = {b"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8), b"labels": [0, 1, 0, 1]}
        return pickle.dumps(data | {name.encode(): part for name, part in more.items()}, 2)

    found = {f"data_batch_{k}": batch() for k in range(1, 6)} | {"test_batch": batch()}
    return found | {"batches.meta": pickle.dumps({b"label_names": [b"frog", b"cat"]}, 2)}


def tar(content: Mapping[str, bytes]) -> bytes:
    """The files as a tar."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def zipped(content: Mapping[str, bytes]) -> bytes:
    """The files as a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def squeeze(data: bytes) -> bytes:
    """gzip, the same at any time."""
    return gzip.compress(data, mtime=0)


def put(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write the files, in folders as their names say."""
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def vouched(name: str, data: bytes) -> bytes:
    """A SHA256SUMS that says that a file is trusted."""
    return f"{hashlib.sha256(data).hexdigest()}  {name}\n".encode()


@dataclass(frozen=True)
class Invocation:
    """A command that succeeds.

    words: as in a shell, in a folder that holds `needs`. needs: {name there: name of what `make` has made}.
    status: 2 for what is refused here and nowhere else, such as fetching without a network.
    """

    words: tuple[str, ...]
    needs: Mapping[str, str] = field(default_factory=dict)
    status: int = 0


def _one(words: str, *needs: str, status: int = 0, **named: str) -> Invocation:
    return Invocation(tuple(w.replace("_", " ") for w in words.split()), {n: n for n in needs} | named, status)


INVOCATIONS: dict[str, tuple[Invocation, ...]] = {
    "explain": (
        _one("explain adam_lr=1e-3_l2=1e-4 --json"),
        _one("explain sgd adamw --lr 0.1 --l2 1e-4 --gradient-rms 1e-2"),
        _one("explain signum --rules rules.py --l2 1e-3", "rules.py"),
    ),
    "convert": (_one("convert --from sgd_lr=0.1_l2=1e-4 --to momentum_lr=0.1_l2=0 --gradient-rms 1e-3 --json"),),
    "probe": (_one("probe torch.optim:SGD --json"), _one("probe optimizers:make", "optimizers.py")),
    "claims": (_one("claims X1 --worlds worlds.py --out out --json", "worlds.py", out="stored"),),
    "phase": (_one("phase rate --cells 2 --seeds 2 --steps 20 --threads 1 --out out"),),
    "reproduce": (_one("reproduce --only coin --worlds worlds.py --out out", "worlds.py", out="stored"),),
    "run": (_one("run coin --set seeds=3 --worlds worlds.py --json", "worlds.py"),),
    "train": (
        _one("train data --epochs 1 --batch 4 --width 0.03125 --out out", "data"),
        _one("train data --from net.safetensors --epochs 1 --batch 4 --optimizer sgd --lr 0.1 --out out", "data",
             "net.safetensors"),
    ),
    "forecast": (_one("forecast recorded.safetensors --at 0.5 --share 0.5 --json", "recorded.safetensors"),),
    "measure": (
        _one("measure net.safetensors --data data --json", "net.safetensors", "data"),
        _one("measure --net networks:make --weights net.pt --data data --json", "networks.py", "net.pt", "data"),
    ),
    "prune": (_one("prune net.safetensors -o smaller.safetensors --data data --json", "net.safetensors", "data"),),
    # Refused at the end, for data that are too few: what it does with enough of them takes minutes.
    "compare": (_one("compare digits --data few --steps 1 --workers 1 --out out", "few", status=2),),
    "fetch": (_one("fetch cifar10 -o fetched", status=2),),
    "study": (
        _one("study little.toml --out out --workers 1", "little.toml", "data", out="studied"),
        _one("study little.toml --out out --workers 1 --dry-run", "little.toml", "data"),
    ),
    "results": (_one("results little.toml --store results.sqlite --json", "little.toml", "results.sqlite", "data"),),
    "merge": (_one("merge results.sqlite --into all.sqlite", "results.sqlite"),),
}  # fmt: skip

# What the program itself makes; watch: a program of somebody's with a monitor.
MADE = (
    "claims X1 --worlds worlds.py --out stored",
    "study little.toml --out studied --workers 1",
    "train data --epochs 2 --batch 4 --width 0.03125 --out trained",
    "train data --record --epochs 60 --batch 4 --width 0.03125 --out recorded",
    "train pictures --epochs 1 --batch 2 --width 0.03125 --out coloured",
    "watch",
)
KEPT = {
    "net.safetensors": "trained/network.safetensors",
    "colour.safetensors": "coloured/network.safetensors",
    "recorded.safetensors": "recorded/training.safetensors",
    "results.sqlite": "studied/results.sqlite",
}


def make(folder: Path, commands: Sequence[str] = MADE) -> None:
    """Write every valid file into a folder; those that commands make by these commands."""
    import torch

    put(folder / "data", digits())
    put(folder / "few", digits(8))
    put(folder / "gz", {f"{name}.gz": squeeze(data) for name, data in digits().items()})
    put(folder / "pictures", pictures())
    files = {"pictures.tar": tar(pictures()), "pictures.zip": zipped(pictures()), "tiny.zip": zipped(tiny())}
    batches = {f"cifar-10-batches-py/{name}": data for name, data in cifar().items()}
    files |= {"cifar.tar.gz": squeeze(tar(batches))}
    files |= {"SHA256SUMS": vouched("cifar.tar.gz", files["cifar.tar.gz"])}
    texts = {
        "worlds.py": WORLDS,
        "rules.py": RULES,
        "networks.py": NETWORKS,
        "optimizers.py": OPTIMIZERS,
        "little.toml": STUDY,
        "little.py": STUDY_PY,
    }
    put(folder, files | {name: text.encode() for name, text in texts.items()})
    space: dict[str, Any] = {}
    exec(NETWORKS, space)
    torch.manual_seed(0)
    torch.save(space["make"]().state_dict(), folder / "net.pt")
    for words in commands:
        # In a process of its own, since training leaves threads behind.
        called = ["-c", WATCHED] if words == "watch" else ["-m", "undertow", *words.split()]
        done = subprocess.run(
            [sys.executable, *called],
            cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stderr}")
    for name, at in KEPT.items():
        if (folder / at).exists():
            shutil.copy(folder / at, folder / name)

"""python -m bench.throughput [--device cuda] [--json FILE]: images a second of the training loop beside a plain one.

On a CPU, unless --models are named, it is `bench.side_by_side`: steps of small networks, alone and together, beside a plain
loop over images in memory. Here whole epochs are compared, the way from the images to the network being half of the matter:

The plain loop is of the usual kind: a DataLoader that crops and mirrors one image at a time on the CPU, a float32 network in
eager mode, torch.optim.Adam, `loss.item()` after every step. Ours is `fullscale.train.train` itself, with what pays on the
device: images and augmentation there, bfloat16, channels last, compiler, CUDA graphs. Both train the same network on the
same images and take turns, so that a neighbour's load meets them alike. An epoch's time is taken between its end and that of
the one before; the first, which compiles and warms up, and the last, which measures filters, do not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from bench.side_by_side import main as side_by_side
from dynamics.errors import InputError
from evidence.files import write_whole
from evidence.store import environment
from fullscale.cost import multiply_adds
from fullscale.data import Images, Split, load
from fullscale.execution import Execution
from fullscale.models import Architecture, build
from fullscale.spec import SHIFT, RunSpec
from fullscale.train import train

BATCHES = (40, 128, 1024)
MODELS = ("basicnet", "vgg16")
EPOCHS = 4
# Dense bfloat16 operations a second, from NVIDIA's data sheets.
PEAKS = {
    "NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H200": 989e12, "NVIDIA H100 PCIe": 756e12,
    "NVIDIA A100-SXM4-40GB": 312e12, "NVIDIA A100-SXM4-80GB": 312e12,
}  # fmt: skip
LR = 1e-3


@dataclass
class Row:
    """One network at one batch size. ours, plain: seconds an epoch; operations: of one image, forward and backward."""

    model: str
    batch: int
    images: int
    operations: int
    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)


class Augmented(Dataset[tuple[torch.Tensor, int]]):
    """Images that are padded, cropped, mirrored and normalized one by one, as they are asked for."""

    def __init__(self, images: Images) -> None:
        self.pixels, self.labels = images.train.images, images.train.labels
        self.mean = self.pixels.mean(axis=(0, 2, 3))[:, None, None].astype(np.float32)
        self.scale = self.pixels.std(axis=(0, 2, 3))[:, None, None].astype(np.float32)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = np.pad(self.pixels[index], ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
        top, left = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
        height, width = self.pixels.shape[2:]
        image = image[:, top : top + height, left : left + width]
        if torch.rand(()) < 0.5:
            image = image[:, :, ::-1]
        return torch.from_numpy((image.astype(np.float32) - self.mean) / self.scale), int(self.labels[index])


def plain(images: Images, architecture: Architecture, batch: int, device: str, workers: int) -> list[float]:
    """Seconds of each counted epoch of the plain loop."""
    net = build(architecture).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, weight_decay=1e-4)
    loader = DataLoader(
        Augmented(images), batch, shuffle=True, drop_last=True, num_workers=workers, pin_memory=device != "cpu",
        persistent_workers=workers > 0,
    )  # fmt: skip
    seconds = []
    for _ in range(EPOCHS - 1):
        started = time.perf_counter()
        net.train()
        for x, y in loader:
            loss = cross_entropy(net(x.to(device, non_blocking=True)), y.to(device, non_blocking=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def ours(images: Images, architecture: Architecture, batch: int, execution: Execution) -> list[float]:
    """Seconds of each counted epoch of `fullscale.train.train`."""
    spec = RunSpec(
        digest=images.digest, model=architecture.model, width=architecture.width, optimizer="adam", coupling="l2", lr=LR,
        strength=1e-4, batch=batch, epochs=EPOCHS, seed=0, schedule="constant", measure_every=EPOCHS, augment=True,
        precision="bf16" if execution.device.startswith("cuda") else "float32",
    )  # fmt: skip
    ends: list[float] = []
    train(spec, images, lambda *_: ends.append(time.perf_counter()), execution=execution)
    return [b - a for a, b in pairwise(ends[:-1])]


def measure(
    images: Images, models: Sequence[str], batches: Sequence[int], width: float, device: str, repeats: int, workers: int
) -> Iterator[Row]:
    """All rows; both loops take turns, repetition by repetition."""
    execution = Execution.best(device)
    for model in models:
        architecture = Architecture(model, width, images.train.images.shape[1], len(images.classes))
        shape = torch.empty(1, *images.train.images.shape[1:])
        operations = 3 * 2 * multiply_adds(build(architecture), shape)
        for batch in batches:
            row = Row(model, batch, len(images.train.labels) // batch * batch, operations)
            for repeat in range(repeats):
                torch.compiler.reset()  # or another batch size is compiled for any
                print(f"{model}, batch {batch}: repetition {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
                row.ours += ours(images, architecture, batch, execution)
                row.plain += plain(images, architecture, batch, device, workers)
            yield row


def peak(name: str) -> float | None:
    """The device's dense bfloat16 operations a second, None where they are not known here."""
    return PEAKS.get(name)


def table(rows: Sequence[Row], name: str) -> str:
    """The rows as a markdown table: medians, and for the ratio [smallest, largest] of the pairs."""
    lines = [
        "| network, batch | images/s, ours | plain loop | ratio | epoch, ours | share of the bf16 peak |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        mine, other = statistics.median(row.ours), statistics.median(row.plain)
        ratios = sorted(b / a for a, b in zip(row.ours, row.plain, strict=True))
        most = peak(name)
        share = "unknown" if most is None else f"{row.operations * row.images / mine / most:.1%}"
        lines.append(
            f"| {row.model}, {row.batch} | {row.images / mine:,.0f} | {row.images / other:,.0f} | "
            f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}] | {mine:.3g} s | {share} |"
        )
    return "\n".join(lines)


def noise(count: int) -> Images:
    """Images of CIFAR-10's shape without content: the speed does not depend on it."""
    draws = np.random.default_rng(0)

    def part(size: int) -> Split:
        return Split(draws.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8), np.arange(size, dtype=np.int64) % 10)

    return Images("noise", tuple("0123456789"), part(count), part(max(10, count // 5)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: measured; 2: bad usage."""
    parser = argparse.ArgumentParser("bench.throughput", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data", help="CIFAR-10's archive; noise of its shape if not given")
    parser.add_argument("--images", type=int, default=50_000, help="training images of noise (50,000)")
    parser.add_argument(
        "--models", nargs="+", help=f"({' '.join(MODELS)}; on a CPU, unless given, `bench.side_by_side`)"
    )
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=8, help="processes of the plain loop's DataLoader (8)")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    try:
        if asked.repeats < 1:
            raise InputError(f"repeats {asked.repeats}: a positive whole number is accepted")
        if asked.models is None and asked.device == "cpu":
            words = ["--device", "cpu", "--repeats", str(asked.repeats)]
            return side_by_side([*words, *(["--json", str(asked.json)] if asked.json else [])])
        if asked.json:
            write_whole(asked.json, b"{}\n")  # measuring takes long: it shall not be for nothing
        images = load(asked.data) if asked.data else noise(asked.images)
        name = torch.cuda.get_device_name(asked.device) if asked.device.startswith("cuda") else "cpu"
        rows: list[Row] = []
        for row in measure(
            images, asked.models or MODELS, asked.batches, asked.width, asked.device, asked.repeats, asked.workers
        ):
            rows.append(row)
            if asked.json:  # at once: what is stopped later has measured these
                found: dict[str, Any] = {
                    "device": name, "environment": environment(), "data": images.name, "rows": [asdict(r) for r in rows],
                }  # fmt: skip
                write_whole(asked.json, (json.dumps(found, indent=1) + "\n").encode())
    except InputError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    how = f"{torch.get_num_threads()} threads, {asked.workers} workers of the plain loop"
    print(f"{name}, torch {torch.__version__}, width {asked.width:g}, {images.name}, {how}\n\n{table(rows, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

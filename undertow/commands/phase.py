"""`undertow phase`: simulate and draw where selective features die under Adam + L2: a million lanes unless told
otherwise."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

from dynamics.errors import InputError
from dynamics.given import shown
from undertow.commands.arguments import Parser, add_out, say, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamics.simulate.lanes import Trajectory


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument(
        "diagram",
        metavar="DIAGRAM",
        help="selectivity (x strength), rate (lr x strength), batch (x selectivity) or epoch (length x beta2)",
    )
    parser.add_argument(
        "--cells", type=whole, default=250, metavar="N", help="settings along each axis, 2 to 10,000 (250)"
    )
    parser.add_argument("--seeds", type=whole, default=16, metavar="N", help="lanes a setting, up to a million (16)")
    parser.add_argument(
        "--steps",
        type=whole,
        default=10_000,
        metavar="N",
        help="steps of each lane, below 2^32; with all lanes up to 10^14 (10000)",
    )
    parser.add_argument("--threads", type=whole, metavar="N", help="threads, up to 1,024; all cores if not given")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu or cuda (cpu)")
    add_out(parser, "figures")


def run(arguments: argparse.Namespace) -> int:
    """Print what was done, how fast, and the picture's path."""
    from evidence.files import check_folder, writing
    from synthetic.phase import Phase

    phase = Phase(arguments.diagram, arguments.cells, arguments.seeds, arguments.steps)
    on = _simulate(arguments.device)
    check_folder(arguments.out)
    from evidence.progress import Live
    from figures.phase import draw
    from figures.style import save

    threads = arguments.threads if arguments.threads is not None else len(os.sched_getaffinity(0))
    folder = arguments.out / "figures"
    with writing(folder, f"phase {phase.diagram}"), Live() as live:
        task = live.task("rows", phase.cells)
        begin = time.perf_counter()
        data = phase.run(threads, on, task)
        seconds = time.perf_counter() - begin
        picture = draw(data)
        save(picture, folder)
    steps = data.attrs["lanes"] * phase.steps
    say(
        f"{data.attrs['lanes']:,} lanes x {phase.steps:,} steps in {seconds:.1f} s: {steps / seconds / 1e6:,.0f} million a second"
    )
    say(picture.alt)
    say(f"picture: {folder / picture.name}.svg, .png")
    return 0


def _simulate(device: str) -> Callable[..., Trajectory]:
    if device == "cpu":
        from dynamics.simulate.lanes import simulate

        return simulate
    if device == "cuda":
        from dynamics.simulate.device import on_device

        return on_device
    raise InputError(f"--device {shown(device)}: cpu and cuda are accepted")

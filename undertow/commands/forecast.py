"""`undertow forecast`: which filters of a network in training will die, when and of what.

Forecast, from what a training run has recorded (undertow train --record), which filters will be dead at its end. No number in it
is fitted; docs/forecast.md says how good it is. With --at: the forecast as it was at that share of the steps taken so far, and
how it came out. With --share: what to change from now on so that so many filters are dead at the end.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from typing import Any

from dynamics.errors import InputError
from dynamics.lines import fit, width
from undertow.commands.arguments import Parser, add_json, drawable, number, path, say


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument("checkpoint", type=path, metavar="FILE", help="training.safetensors of undertow train --record")
    parser.add_argument(
        "--at",
        type=number,
        metavar="SHARE",
        help="as of this share of the steps taken so far, in (0, 1), and how it came out",
    )
    parser.add_argument(
        "--share",
        type=number,
        metavar="SHARE",
        help="the smallest change that leaves this share of the filters dead, in [0, 1]",
    )
    add_json(parser)
    parser.add_argument(
        "--plot", type=path, metavar="FILE", help="draw the probabilities into a .png, .svg or .pdf file"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the forecast."""
    from undertow.extras import needs_fullscale

    needs_fullscale()
    for name in ("at", "share"):
        value = getattr(arguments, name)
        if value is not None and not 0 <= value <= 1:
            raise InputError(f"--{name} {value:g}: a share from 0 to 1 is accepted")
    if arguments.plot is not None:
        drawable("--plot", arguments.plot)
    from fullscale.forecast.dial import as_text, changes
    from fullscale.forecast.live import of_run

    known = of_run(arguments.checkpoint, arguments.at)
    found = known.forecast()
    went = known.went(found)
    turned = (
        None
        if arguments.share is None
        else changes(known.seen, known.setting, known.steps, arguments.share, multipliers=known.multipliers)
    )
    if arguments.plot is not None:
        from figures.style import Picture, save_as

        figure = found.plot().get_figure(root=True)
        assert figure is not None
        save_as(Picture("forecast", figure, "", found.finding), arguments.plot)
    if arguments.json:
        said: dict[str, Any] = found.as_dict()
        if went is not None:
            said["went"] = asdict(went)
        if turned is not None:
            said["changes"] = [asdict(change) for change in turned]
        print(json.dumps(_plain(said), indent=2))
        return 0
    parts = [
        str(found),
        "" if went is None else str(went),
        "" if turned is None else as_text(turned, arguments.share, found),
    ]
    say(fit("\n\n".join(part for part in parts if part), width()))
    return 0


def _plain(x: Any) -> Any:
    """NaN, which JSON has not, as null."""
    if isinstance(x, dict):
        return {name: _plain(value) for name, value in x.items()}
    if isinstance(x, list):
        return [_plain(value) for value in x]
    return None if isinstance(x, float) and math.isnan(x) else x

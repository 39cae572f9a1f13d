"""`undertow convert`: the strength that gives one setting the pull of another.

Find the strength at which one setting pulls on a weight as hard as another does, check it by simulation, and say how
far it holds; or why there is none. A setting is a name and key=value, as in 'adam lr=1e-3 l2=1e-4' or 'sgd lr=0.1
momentum=0.9 weight_decay=5e-4'.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from dynamics.errors import InputError
from undertow.commands.arguments import Parser, add_json, add_rules, number, whole, wrapped

if TYPE_CHECKING:
    from dynamics.answers.convert import Conversion, Range
    from dynamics.answers.pull_rate import Gradients


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument("--from", dest="source", required=True, metavar="SETTING", help="the setting that is known")
    parser.add_argument(
        "--to",
        required=True,
        metavar="SETTING",
        help="the other; a regularizer without a strength is that of its library",
    )
    parser.add_argument(
        "--gradient-rms",
        type=number,
        metavar="X",
        help="root mean square of the gradients when they arrive; not needed where neither pull depends on it",
    )
    parser.add_argument(
        "--arrival",
        type=number,
        metavar="P",
        help="share of steps at which a gradient arrives (1 if not given)",
    )
    parser.add_argument(
        "--weight", type=number, metavar="X", help="size of the weight; small against gradient / strength if not given"
    )
    parser.add_argument(
        "--steps", type=whole, default=10_000, metavar="N", help="horizon where no constant strength will do (10,000)"
    )
    add_json(parser)
    add_rules(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the conversion, or why there is none: an answer, too."""
    from dynamics.answers.convert import convert
    from dynamics.answers.pull_rate import Gradients
    from dynamics.answers.setting import parse, parse_target

    rms, arrival = arguments.gradient_rms, arguments.arrival
    if rms is None and arrival is not None:
        raise InputError(f"--arrival {arrival:g} without --gradient-rms: both, or neither, are accepted")
    gradients = None if rms is None else Gradients(rms, 1.0 if arrival is None else arrival)
    found = convert(
        parse(arguments.source), parse_target(arguments.to), gradients, weight=arguments.weight, steps=arguments.steps
    )
    print(json.dumps(found.as_dict(), indent=2) if arguments.json else conversion_as_text(found, gradients))
    return 0


def conversion_as_text(c: Conversion, gradients: Gradients | None) -> str:
    """A conversion for people."""
    seen = "any gradients"
    if gradients is not None:
        seen = f"gradients of rms {gradients.rms:g} at {100 * gradients.arrival:.4g}% of the steps"
    if c.strength is None:
        lines = [f"{c.source}: no constant strength gives the same pull under {seen}", wrapped(f"why: {c.why}")]
        if c.horizon is not None:
            h = c.horizon
            lines += [
                wrapped(
                    f"from step {h.first:,} to {h.steps:,} the best constant is {h.strength:.4g}: right on average; the pull "
                    f"to be matched is {h.early:.2f} times its own in the first eighth and {h.late:.2f} times in the last"
                )
            ]
        return "\n".join([*lines, *(wrapped(f"note: {note}") for note in c.notes)])
    assert c.ratio is not None
    lines = [
        f"{c.source}  ->  {c.target}",
        wrapped(f"strength {c.strength:.4g}" + (f": {c.library}" if c.library else "")),
    ]
    lines += [f"  both take {c.rate:.3g} of a weight a step, under {seen}"]
    if c.formula is not None:
        lines += [f"  closed form: {c.formula:.4g}"]
    r = c.ratio
    lines += [
        f"  simulated: the pull is {r.value:.4f} [{r.low:.4f}, {r.high:.4f}] times that to be matched, "
        f"n = {r.n} seeds ({r.interval.removesuffix(' over seeds')})"
    ]
    lines += ["  until the two differ by a tenth, all else equal:"]
    names = {"weight": "weights", "gradient_rms": "gradient rms", "arrival": "arrival"}
    lines += [f"    {names[name]:13} {_range(reach)}" for name, reach in c.holds.items()]
    return "\n".join([*lines, *(wrapped(f"note: {note}") for note in c.notes)])


def _range(reach: Range) -> str:
    if reach.low is None:
        return "all that were tried" if reach.high is None else f"up to {reach.high:.3g}"
    return f"from {reach.low:.3g}" if reach.high is None else f"{reach.low:.3g} to {reach.high:.3g}"

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
from dynamics.lines import wrapped
from undertow.commands.arguments import Parser, add_json, add_rules, number, say, whole

if TYPE_CHECKING:
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
    parser.add_argument(
        "--preserve",
        choices=("pull", "equilibrium", "timescale"),
        default="pull",
        help="what is to stay: the share of the weight taken off a step (pull), or the size that noise leaves weights at "
        "(equilibrium), or the steps over which it forgets, on average over --schedule and --steps (timescale)",
    )
    parser.add_argument(
        "--schedule",
        choices=("constant", "step", "cosine"),
        help="with --preserve timescale: of the learning rate; step is lr / 10 for the last fifth (constant)",
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
    if arguments.schedule is not None and arguments.preserve != "timescale":
        raise InputError(f"--schedule {arguments.schedule}: accepted with --preserve timescale")
    if arguments.weight is not None and arguments.preserve != "pull":
        raise InputError(
            f"--weight {arguments.weight:g} with --preserve {arguments.preserve}: accepted with --preserve pull"
        )
    if arguments.preserve == "timescale":
        return _same_timescale(arguments, gradients)
    if arguments.preserve == "equilibrium":
        return _same_size(arguments, gradients)
    found = convert(
        parse(arguments.source), parse_target(arguments.to), gradients, weight=arguments.weight, steps=arguments.steps
    )
    if arguments.json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        say(str(found))
    return 0


def _same_size(arguments: argparse.Namespace, gradients: Gradients | None) -> int:
    from dynamics.answers.printed import same_size as same_size_as_text
    from dynamics.answers.same_size import same_size

    if gradients is None:
        raise InputError("--preserve equilibrium without --gradient-rms: the size of the gradients is needed")
    found = same_size(arguments.source, arguments.to, gradients)
    if arguments.json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        say(same_size_as_text(found, gradients))
    return 0


def _same_timescale(arguments: argparse.Namespace, gradients: Gradients | None) -> int:
    from dynamics.answers.same_timescale import same_timescale
    from dynamics.simulate.schedules import constant, cosine, step_decay

    name, steps = arguments.schedule or "constant", arguments.steps
    if steps < 1:
        raise InputError(f"--steps {steps}: a whole number from 1 is accepted")
    schedule = {"constant": constant(), "step": step_decay([steps * 4 // 5]), "cosine": cosine(steps)}[name]
    c = same_timescale(arguments.source, arguments.to, schedule, steps, gradients)
    if arguments.json:
        print(json.dumps(c.as_dict(), indent=2))
        return 0
    lines = [
        f"{c.source}  ->  {c.target}",
        wrapped(f"strength {c.strength:.4g}" + (f": {c.library}" if c.library else "")),
    ]
    lines += [wrapped(f"both forget over {c.timescale:,.0f} steps, on average over {steps:,} steps of schedule {name}")]
    lines += [f"  at the start the pull is {c.start:.4g} times that of the first"]
    say("\n".join([*lines, *(wrapped(f"note: {note}") for note in c.notes)]))
    return 0

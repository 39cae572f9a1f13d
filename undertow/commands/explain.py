"""`undertow explain`: what settings do to a weight: formula, decay, half-life, equilibrium, stability, eps.

Explain what a setting does to a weight, or several side by side. A setting is a name, alone or with key=value behind
it in quotes: adam, 'adamw lr=1e-3 weight_decay=0.05', 'sgd lr=0.1 momentum=0.9 l2=5e-4'. Flags count for every setting
that does not say the same itself. With --schedule: what is left at the end of a run, and when the decay acts.
With --groups: which parameters of an optimizer of your own decay, and what usually goes wrong.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from dynamics.lines import width
from undertow.commands.arguments import Parser, add_setting, drawable, given_setting, number, path, say, whole

if TYPE_CHECKING:
    from dynamics.answers.setting import Setting


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument("settings", nargs="*", metavar="SETTING", help="an optimizer with its numbers")
    add_setting(parser)
    parser.add_argument(
        "--gradient-rms",
        type=number,
        default=1e-3,
        metavar="X",
        help="root mean square of the gradients when they arrive, for regimes and equilibrium (1e-3)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the same as data: an object, or a list of them for several settings"
    )
    parser.add_argument(
        "--groups",
        metavar="MODULE:FUNCTION",
        help="instead of settings: a function without arguments that makes an optimizer, or a network and its optimizer",
    )
    _add_run(parser)
    parser.add_argument("--plot", type=path, metavar="FILE", help="draw the settings into a .png, .svg or .pdf file")


def _add_run(parser: argparse.ArgumentParser) -> None:
    """The flags of a run with its schedule."""
    group = parser.add_argument_group("run", "the learning rate is the schedule's largest; schedules are torch's")
    names = (
        "constant, onecycle, cosine, step (a tenth at a third and at two thirds), warmup-cosine, linear or trapezoid"
    )
    group.add_argument("--schedule", metavar="NAME", help=names)
    group.add_argument("--steps", type=whole, metavar="N", help="steps of the run")
    group.add_argument(
        "--warmup", type=whole, metavar="N", help="of them, the first N warm up (none; of onecycle 30%% of the steps)"
    )
    group.add_argument(
        "--final",
        type=number,
        default=0.0,
        metavar="X",
        help="share of lr to which cosine, linear and trapezoid fall (0)",
    )
    group.add_argument("--decay-steps", type=whole, metavar="N", help="of a trapezoid, the last N fall along a line")
    group.add_argument("--steps-per-epoch", type=number, metavar="M", help="to speak of epochs too")


def run(arguments: argparse.Namespace) -> int:
    """Print the explanations."""
    from dynamics.answers.setting import parse

    given = given_setting(arguments)
    if arguments.groups is not None:
        return _groups(arguments, given)
    if not arguments.settings:
        raise InputError(
            "no SETTING: an optimizer with its numbers is needed, or --groups; see undertow explain --help"
        )
    settings = [parse(text, given) for text in arguments.settings]
    if arguments.plot is not None:
        drawable("--plot", arguments.plot)
        _pulling(settings)
    from dynamics.answers.explain import explain
    from dynamics.answers.printed import side_by_side

    names = ("schedule", "steps", "warmup", "final", "decay_steps", "steps_per_epoch")
    over = {name: getattr(arguments, name) for name in names}
    found = [explain(setting, arguments.gradient_rms, **over) for setting in settings]
    if arguments.plot is not None:
        _plot(settings, arguments.gradient_rms, arguments.plot)
    if arguments.json:
        data = [e.as_dict() for e in found]
        print(json.dumps(data[0] if len(data) == 1 else data, indent=2))
    else:
        say(str(found[0]) if len(found) == 1 else side_by_side(found))
    return 0


def _groups(arguments: argparse.Namespace, given: dict[str, Any]) -> int:
    """Print which parameters of a user's own optimizer decay."""
    beside = arguments.settings or given or arguments.plot
    if beside:
        raise InputError("--groups beside a setting or --plot: one of them is accepted")
    beside_schedule = ("steps", "warmup", "decay_steps", "steps_per_epoch")
    lone = next((name for name in beside_schedule if getattr(arguments, name) is not None), None)
    if arguments.schedule is None and (lone or arguments.final):
        raise InputError(f"--{(lone or 'final').replace('_', '-')} without --schedule: a schedule is needed")
    if arguments.schedule is not None and arguments.steps is None:
        raise InputError(f"--schedule {arguments.schedule} without --steps: the steps of the run are needed")
    from dynamics.answers.live import read
    from dynamics.answers.schedule import plan
    from dynamics.answers.usual import table
    from dynamics.named import called

    over = None
    if arguments.schedule is not None:
        over = plan(arguments.schedule, arguments.steps, arguments.warmup, arguments.final, arguments.decay_steps)
    made = called("--groups", arguments.groups)
    net, optimizer = made if isinstance(made, tuple) and len(made) == 2 else (None, made)
    groups = read(optimizer, net=net, scheduler=over, steps_per_epoch=arguments.steps_per_epoch)
    if arguments.json:
        print(json.dumps([group.as_dict() for group in groups], indent=2))
    else:
        say(table(groups, max(60, width(100) or 100)))
        for group in groups if over else ():
            say(f"\n{group}")
    return 0


def _pulling(settings: Sequence[Setting]) -> None:
    silent = [str(s) for s in settings if not s.coupling.doors or not s.strength]
    if silent:
        raise InputError(f"--plot with {silent[0]!r}: settings with a regularizer are accepted")


def _plot(settings: Sequence[Setting], rms: float, file: Path) -> None:
    import numpy as np

    from dynamics.answers.curves import pull_curves, silent_paths
    from figures.settings import draw
    from figures.style import save_as

    grid = rms * np.geomspace(1e-3, 1e3, 13)
    save_as(draw(silent_paths(settings), pull_curves(settings, grid)), file)

"""`undertow train`: a CNN on images, its inactive filters, and the smaller network that computes the same."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.arguments import add_out, add_setting, given_setting, number, whole

if TYPE_CHECKING:
    from fullscale.train import Outcome


def add(commands: Any) -> None:
    """Add the command."""
    text = (
        "train BasicNet on images, measure its inactive filters, remove the dead ones and certify the smaller network"
    )
    parser = commands.add_parser("train", help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument(
        "data",
        metavar="DATA",
        help="digits, a folder or an archive of images (one subfolder a class), or a folder of IDX files",
    )
    parser.add_argument("--optimizer", default="adam", metavar="NAME", help="a rule's name, as in explain (adam)")
    add_setting(parser)
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="only these classes: an easier task")
    parser.add_argument(
        "--width", type=number, default=0.125, metavar="X", help="BasicNet's filters times this (0.125)"
    )
    parser.add_argument("--batch", type=whole, default=40, metavar="N", help="images a step (40)")
    parser.add_argument("--epochs", type=whole, default=10, metavar="N", help="passes over the training images (10)")
    parser.add_argument(
        "--seed", type=whole, default=0, metavar="N", help="of the first weights and the data order (0)"
    )
    parser.add_argument(
        "--schedule",
        default="step",
        metavar="NAME",
        help="constant, step (lr / 10 for the last fifth) or cosine (step)",
    )
    add_out(parser, "network.safetensors, smaller.safetensors and results.sqlite")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the measures and the certificate; exit status 1 if the run diverged."""
    from figures.reproduce import needs_fullscale, writable

    needs_fullscale()
    from dynamics.setting import parse
    from figures.progress import Live
    from fullscale.data import load
    from fullscale.spec import RunSpec
    from fullscale.store import Store
    from fullscale.sweep import KIND, as_row
    from fullscale.train import one_thread, train

    # As in a sweep: the store holds both under one key, so both must come out the same.
    one_thread()
    setting = parse(arguments.optimizer, given_setting(arguments))
    defaults = setting.rule.defaults
    hyper = tuple((name, value) for name, value in setting.hyper.items() if value != defaults[name])
    numbers: dict[str, Any] = {
        "optimizer": setting.rule.name,
        "coupling": setting.coupling.name,
        "lr": setting.lr,
        "strength": setting.strength,
        "hyper": hyper,
        "width": arguments.width,
        "batch": arguments.batch,
        "epochs": arguments.epochs,
        "seeds": (arguments.seed,),
        "schedule": arguments.schedule,
    }
    # Checked before the data are read: a typo should not cost a minute.
    RunSpec(digest="", **numbers)
    with Live() as live:
        live.line(f"reading {arguments.data}")
        images = load(arguments.data)
        if arguments.classes:
            images = images.select(tuple(arguments.classes))
        spec = RunSpec(digest=images.digest, **numbers)
        folder = writable(arguments.out)
        with Store(folder / "results.sqlite") as store:
            task = live.task(f"{spec.optimizer} on {images.name}", spec.epochs)
            [outcome] = train(spec, images, lambda done, losses: task(done, spec.epochs, f"loss {losses[0]:.4g}"))
            store.put(KIND, spec.as_dict(), **as_row([outcome]))
    if outcome.net is None:
        print(f"diverged: {outcome.error}", file=sys.stderr)
        return 1
    print(_certified(outcome, folder))
    return 0


def _certified(outcome: Outcome, folder: Path) -> str:
    """Save the trained and the smaller network; the measures and the certificate for people."""
    from fullscale.checkpoint import save

    s, net, smaller = outcome.summary, outcome.net, outcome.smaller
    assert net is not None
    assert smaller is not None
    save(net, folder / "network.safetensors")
    save(smaller, folder / "smaller.safetensors")
    c, removed = s["certificate"], s["removal"]
    counts = {
        k: sum(layer[k] for layer in removed["layers"]) for k in ("provably_dead", "constant", "empirically_dead")
    }
    return "\n".join(
        [
            f"inactive filters: {s['inactive_by_activation']:.1%} by activation, {s['inactive_by_scale']:.1%} by scale",
            f"removed: {removed['share']:.1%} of the filters; provably dead {counts['provably_dead']}, "
            f"constant {counts['constant']}, empirically dead {counts['empirically_dead']}",
            f"largest output difference: {c['held_out_difference']:.2e} on {c['held_out_images']} test images, "
            f"{c['random_difference']:.2e} on {c['random_images']} random ones",
            f"test error: {c['error_before']:.2%} before, {c['error_after']:.2%} after",
            f"parameters: {c['parameters_before']:,} -> {c['parameters_after']:,}; "
            f"multiply-adds: {c['multiply_adds_before']:,} -> {c['multiply_adds_after']:,}",
            f"networks: {folder / 'network.safetensors'}, {folder / 'smaller.safetensors'}",
        ]
    )

"""`undertow compare`: train networks, cut them by published pruning criteria and by selectivity, and set that beside
their dead filters.

digits: BasicNet on scikit-learn's digits, some minutes. paper-6-pruning: VGG-16 at 1/8 width on CIFAR-10, more than an hour;
paper-6-rates: what its learning rates are chosen by. Stopped at any moment, it goes on where it was.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dynamics.errors import InputError
from undertow.commands.arguments import Parser, add_images, add_out, given_images, say, whole
from undertow.commands.study import MOST

if TYPE_CHECKING:
    import xarray as xr

    from fullscale.pruning_study import PruningStudy


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument("comparison", nargs="?", default="digits", metavar="COMPARISON", help="which (digits)")
    parser.add_argument("--data", metavar="DATA", help="images as undertow train takes them (the comparison's own)")
    add_images(parser, "only these classes: an easier task")
    parser.add_argument(
        "--steps", type=whole, metavar="N", help="training steps, to whole epochs (the comparison's own)"
    )
    parser.add_argument("--workers", type=whole, metavar="N", help="processes (one a core)")
    add_out(parser, "the outcome as JSON, figures and results.sqlite")


def run(arguments: argparse.Namespace) -> int:
    """Print what each criterion can remove without loss, the verdicts, and where the outcome is."""
    from dataclasses import replace

    from fullscale.pruning_study import find_comparison
    from undertow.extras import needs, needs_fullscale

    asked = find_comparison(arguments.comparison)
    if arguments.steps is not None:
        asked = replace(asked, steps=arguments.steps)
    arguments.data = asked.data or None if arguments.data is None else arguments.data
    if arguments.data is None:
        raise InputError(f"{asked.name} leaves its images to --data: a folder or an archive of CIFAR-10 is accepted")
    if arguments.workers is not None and not 1 <= arguments.workers <= MOST:
        raise InputError(f"--workers {arguments.workers}: a whole number from 1 to {MOST:,} is accepted")
    needs_fullscale()
    needs("criteria", "torch_pruning")
    from evidence.files import check_folder, write_whole, writing
    from fullscale.data import check_source

    check_source(arguments.data)
    check_folder(arguments.out)
    from evidence.executors.local import processes
    from evidence.progress import Live
    from evidence.store import Store
    from figures import pruning
    from figures.style import save
    from fullscale.pruning_claims import as_text, findings
    from fullscale.pruning_data import KEPT, by_criterion
    from fullscale.studies.runs import Source

    folder, drawings = arguments.out, arguments.out / "figures"
    with writing(folder, f"compare {asked.name}"), writing(drawings), Live() as live:
        images = given_images(arguments, live)
        classes = images.classes if arguments.classes else ()
        source = Source(arguments.data, classes, arguments.size, arguments.label_noise)
        with Store(folder / "results.sqlite") as store, processes(workers=arguments.workers) as pool:
            rows = asked.run(images, source, store, pool, live.task("networks", len(asked.bases) * len(asked.seeds)))
        data, outcome = by_criterion(rows), folder / KEPT[asked.name]
        write_whole(outcome, as_text(rows, asked.name).encode())
        drawn = save(pruning.draw(data), drawings) if data.sizes["criterion"] else None
    _print_whole(asked, data)
    picture = ""
    if drawn is not None:
        _print_shares(data)
        picture = f"; picture: {drawings / drawn.name}.svg, .png"
    for finding in findings(data, asked.name):
        e = finding.estimate
        say(f"{finding.verdict:10} {finding.claim.id}: {e.value:.1f} {e.unit} [{e.low:.1f}, {e.high:.1f}], n = {e.n}")
    say(f"outcome: {outcome}{picture}")
    return 0


def _print_whole(asked: PruningStudy, data: xr.Dataset) -> None:
    from fullscale.pruning_data import chosen, whole

    say(f"{asked.name}: {data.attrs['model']} on {data.attrs['data']}, before anything is removed")
    for row in whole(data):
        held_out = "" if row["held_out"] is None else f", held out {row['held_out']:.2%}"
        test = "diverged" if row["test_error"] is None else f"test error {row['test_error']:.2%}{held_out}"
        say(f"  {row['training']:14} {test}, dead filters {row['dead'] or 0:.1%}, n = {row['n']}")
    if best := chosen(data):
        say(f"  lowest held-out errors: {', '.join(best)}")


def _print_shares(data: xr.Dataset) -> None:
    from figures.pruning import TUNED
    from fullscale.pruning_data import PRICE, table

    say(f"share of filters that can go for {100 * PRICE:g} point of test error, [95% t-interval over seeds]")
    for row in table(data):
        how = {"dead": "dead, removed exactly"}.get(row["criterion"], TUNED[row["tuned"]])
        interval = f"[{row['low']:.1%}, {row['high']:.1%}]"
        say(f"  {row['training']:9} {row['criterion']:16} {how:22} {row['share']:6.1%} {interval}, n = {row['n']}")

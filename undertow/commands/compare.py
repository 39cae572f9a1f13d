"""`undertow compare`: train networks, cut them by published pruning criteria and by selectivity, and set that beside
their dead filters."""

from __future__ import annotations

import argparse

from undertow.commands.arguments import Parser, add_images, add_out, given_images, whole


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument(
        "--data", default="digits", metavar="DATA", help="digits, or images as undertow train takes them (digits)"
    )
    add_images(parser, "only these classes: an easier task")
    parser.add_argument(
        "--steps", type=whole, default=5_000, metavar="N", help="training steps, to whole epochs (5000)"
    )
    add_out(parser, "compared.json, figures and results.sqlite")


def run(arguments: argparse.Namespace) -> int:
    """Print what each criterion can remove without loss, the verdicts, and where the outcome is."""
    from evidence.files import writable
    from undertow.extras import needs, needs_fullscale

    needs_fullscale()
    needs("criteria", "torch_pruning")
    from evidence.files import write_whole
    from evidence.progress import Live
    from evidence.store import Store
    from figures import pruning
    from figures.style import save
    from fullscale.pruning_claims import PRICE, as_text, findings, table
    from fullscale.pruning_study import PruningStudy

    asked = PruningStudy(steps=arguments.steps)
    with Live() as live:
        images = given_images(arguments, live)
        folder, figures = writable(arguments.out), writable(arguments.out / "figures")
        with Store(folder / "results.sqlite") as store:
            data = asked.run(images, store, live.task("networks", len(asked.bases) * len(asked.seeds)))
    write_whole(folder / "compared.json", as_text(data).encode())
    save(pruning.draw(data), figures)
    print(
        f"{images.name}: share of filters that can go for {100 * PRICE:g} point of test error, [95% t-interval over seeds]"
    )
    for row in table(data):
        how = {"dead": "dead, removed exactly"}.get(row["criterion"], pruning.TUNED[row["tuned"]])
        interval = f"[{row['low']:.1%}, {row['high']:.1%}]"
        print(f"  {row['training']:9} {row['criterion']:16} {how:22} {row['share']:6.1%} {interval}, n = {row['n']}")
    for finding in findings(data):
        e = finding.estimate
        print(f"{finding.verdict:10} {finding.claim.id}: {e.value:.1f} {e.unit} [{e.low:.1f}, {e.high:.1f}], n = {e.n}")
    print(f"outcome: {folder / 'compared.json'}; picture: {figures / 'pruning'}.svg, .png")
    return 0

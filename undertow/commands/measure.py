"""`undertow measure`: measure a trained network's filters on images: inactive by activation and by scale, constant,
selectivity.

By activation: the largest absolute activation over all training images and the plane is below 1e-12. By scale:
BatchNorm's abs(gamma) is below 1e-3. Constant: largest and smallest activation are less than 1e-12 apart. Selectivity:
the share of images whose largest activation is below 1e-3 of the filter's largest; told is the median over the filters
that are active.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from dynamics.lines import width
from undertow.commands.arguments import Parser, add_images, add_json, drawable, given_images, number, path, say, whole
from undertow.commands.network import add_network, check_network, classes

if TYPE_CHECKING:
    from fullscale.data import Images
    from fullscale.measure import Activity

_OF_MODEL = ("head", "width", "outputs")
BATCH = 1024


def add(parser: Parser) -> None:
    """Add its flags."""
    add_network(parser)
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="what the network was trained on: digits, a folder or an archive of images, or a folder of IDX files",
    )
    add_images(parser)
    parser.add_argument(
        "--thresholds",
        nargs=2,
        type=number,
        metavar=("LOW", "HIGH"),
        help="also both measures, and the test error with these filters put to 0, at each power of ten between",
    )
    add_json(parser)
    parser.add_argument("--csv", type=path, metavar="FILE", help="write a table of all filters")
    parser.add_argument(
        "--plot", type=path, metavar="FILE", help="draw the thresholds (1e-14 to 1) into a .png, .svg or .pdf file"
    )
    other = parser.add_argument_group("weights alone", "for a file that holds a state_dict and no configuration")
    other.add_argument("--model", metavar="NAME", help="the network that they are of, such as resnet18")
    other.add_argument("--head", metavar="NAME", help="cifar or imagenet (cifar)")
    other.add_argument("--width", type=number, metavar="X", help="the network's filters times this (1)")
    other.add_argument("--outputs", type=whole, metavar="N", help="of the network; the number of classes if not given")


def run(arguments: argparse.Namespace) -> int:
    """Print the measures, and write what was asked for."""
    from undertow.extras import needs_fullscale

    needs_fullscale()
    from evidence.files import check_place
    from fullscale.data import check_source

    # Before the work, and before what it needs is loaded: a slip of the hand should not cost a pass over the images.
    file = check_network(arguments)
    check_source(arguments.data)
    if arguments.plot is not None:
        drawable("--plot", arguments.plot)
    if arguments.csv is not None:
        check_place(arguments.csv)
    for name in _OF_MODEL:
        if arguments.model is None and getattr(arguments, name) is not None:
            raise InputError(f"--{name} {getattr(arguments, name)}: accepted only with --model, for weights alone")
    if arguments.model is not None and arguments.net is not None:
        raise InputError(f"--model {arguments.model} and --net {arguments.net}: one of them is accepted")
    from evidence.progress import Live
    from fullscale.feed import Resident
    from fullscale.measure import measure, zeroed
    from fullscale.own import own_network
    from fullscale.thresholds import by_threshold, decades
    from undertow.commands.filter_report import FilterReport

    values = decades(*arguments.thresholds) if arguments.thresholds else decades()
    swept = bool(arguments.thresholds) or arguments.plot is not None
    # What the user's own code prints is no part of the answer.
    with redirect_stdout(sys.stderr), Live() as live:
        own = None if arguments.net is None else own_network(arguments.net, arguments.weights)
        images = given_images(arguments, live)
        net, trained_on = _network(arguments, images) if own is None else (own, None)
        feed = Resident(images)
        if swept and (outputs := classes(net, next(feed.test(2))[0])) != len(images.classes):
            raise InputError(
                f"a network of {outputs or 'no such'} outputs on {len(images.classes)} classes has no test error, which "
                "--thresholds and --plot need: data of as many classes as outputs are accepted"
            )
        live.line(f"measuring on {len(images.train.labels):,} images")
        activity = measure(net, feed.training(BATCH))
        data = None
        if swept:
            live.line(f"testing on {len(images.test.labels):,} images")
            points = zeroed(net, activity, feed.test(BATCH), values)
            data = by_threshold({0: points}, model=file.name, data=images.name)
    if arguments.csv is not None:
        _write_table(activity, arguments.csv)
    if arguments.plot is not None and data is not None:
        from figures.style import save_as
        from figures.thresholds import draw

        save_as(draw(data), arguments.plot)
    report = FilterReport(file, images, activity, data, trained_on)
    print(report.as_json()) if arguments.json else say(report.as_text(width()))
    return 0


def _network(arguments: argparse.Namespace, images: Images) -> tuple[Any, str | None]:
    """The network, and the digest of the images it was trained on where its file says so, as that of a training run does."""
    from fullscale.checkpoint import load, load_into
    from fullscale.models import Architecture, build
    from fullscale.room import check_network

    if arguments.model is None:
        saved = load(arguments.checkpoint)
        spec = saved.notes.get("spec")
        return saved.net, spec.get("digest") if isinstance(spec, dict) else None
    width = 1.0 if arguments.width is None else arguments.width
    outputs = len(images.classes) if arguments.outputs is None else arguments.outputs
    channels = images.train.images.shape[1]
    asked = Architecture(arguments.model, width, channels, outputs, arguments.head or "cifar")
    check_network(asked)
    net = build(asked)
    load_into(net, arguments.checkpoint)
    return net, None


def _write_table(activity: Activity, file: Path) -> None:
    from evidence.files import write_whole

    rows, text = activity.table(), io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(file, text.getvalue().encode())

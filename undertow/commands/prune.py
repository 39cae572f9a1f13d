"""`undertow prune`: remove a network's dead filters without changing what it computes, and certify that.

Filters that are 0 or a constant for every input go, and those that nothing reads; the value of a constant one is added
to the layers that read it, exactly. Where the outputs differ by more than the tolerance, nothing is written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from undertow.commands.arguments import Parser, add_images, given_images, number, path, say, whole
from undertow.commands.network import add_network, check_network, classes

if TYPE_CHECKING:
    from torch import Tensor, nn

    from evidence.progress import Live
    from fullscale.feed import Resident
    from fullscale.prune import Certificate

# Pixels of random images where there are no others, by the network's head, and how many numbers they may hold in all.
SIDE = {"imagenet": 224}
SMALL, NUMBERS = 32, 2**22
BATCH, TIMED = 1024, 16
CLASSES = ("provably_dead", "constant", "empirically_dead", "unread")


def add(parser: Parser) -> None:
    """Add its flags."""
    add_network(parser)
    parser.add_argument(
        "-o", "--out", type=path, required=True, metavar="FILE",
        help="the smaller network; its certificate is written beside it as .json",
    )  # fmt: skip
    parser.add_argument(
        "--data", metavar="DATA", help="images to certify on: digits, a folder or an archive of images, or IDX files"
    )
    add_images(parser, "only these classes of the data")
    parser.add_argument(
        "--empirical",
        action="store_true",
        help="also remove filters that all training images of --data left at 0: exact on these and on no others; the "
        "test images alone are then held to the tolerance",
    )
    parser.add_argument(
        "--multiple", type=whole, default=1, metavar="N", help="keep the filters of each layer a multiple of this (1)"
    )
    parser.add_argument(
        "--tolerance",
        type=number,
        metavar="X",
        help="largest difference of an output, divided by the largest output where that is above 1 (32 times what rounding "
        "alone does to this network)",
    )
    parser.add_argument("--onnx", action="store_true", help="also write the smaller network beside it as .onnx")
    parser.add_argument("--json", action="store_true", help="print the certificate as data")


def run(arguments: argparse.Namespace) -> int:
    """Write the smaller network and its certificate; exit status 1, and nothing written, if the outputs differ."""
    from undertow.extras import needs_fullscale

    needs_fullscale()
    out, file = arguments.out, check_network(arguments)
    beside, exported = _checked(arguments, file)
    from evidence.files import write_together
    from evidence.progress import Live
    from fullscale.checkpoint import Saved, as_bytes, load
    from fullscale.export import as_onnx
    from fullscale.measure import measure
    from fullscale.own import own_network, smaller_bytes
    from fullscale.prune import narrow_extra, remove_dead

    # What the user's own code prints is no part of the answer.
    with redirect_stdout(sys.stderr), Live() as live:
        own = arguments.net is not None
        saved = Saved(own_network(arguments.net, arguments.weights)) if own else load(arguments.checkpoint)
        feed = None
        if arguments.data is not None:
            feed = _feed(arguments, saved.net, live)
        example = _images(saved.net, 2, feed)
        activity = None
        if arguments.empirical and feed is not None:
            live.line("measuring on the training images")
            activity = measure(saved.net, feed.training(BATCH))
        smaller, removal = remove_dead(saved.net, activity, multiple=arguments.multiple, example=example)
        live.line("comparing outputs")
        certificate = _certificate(saved.net, smaller, feed)
    tolerance, on = arguments.tolerance, "held_out" if arguments.empirical else "both"
    if not certificate.passes(tolerance, on):  # type: ignore[arg-type]
        worst = max(certificate.judged(on), key=lambda one: one.over(tolerance))  # type: ignore[arg-type]
        apart, allowed = (worst.difference, worst.allowed) if tolerance is None else (worst.scaled, tolerance)
        place = f" at {worst.output}" if worst.output else ""
        advice = "leave out --empirical" if arguments.empirical else "keep the network as it is"
        print(
            f"undertow: outputs differ by {apart:.2e}{place}, more than {allowed:.3g}: nothing is written; {advice}, "
            "or give a larger --tolerance",
            file=sys.stderr,
        )
        return 1
    data = None
    if feed is not None:
        of = {"classes": list(feed.classes), "shape": list(feed.shape), "digest": feed.digest}
        data = {"name": arguments.data} | of
    report: dict[str, Any] = {
        "network": str(file),
        "data": data,
        "empirical": arguments.empirical,
        "multiple": arguments.multiple,
        "tolerance": tolerance,
        "judged": on,
        "removal": removal.as_dict() | {"share": removal.share},
        "certificate": certificate.as_dict(),
    }
    text = json.dumps(report, indent=2)
    extra = narrow_extra(saved.extra, removal)
    # Not what says that a run is under way: the run of this network is another one.
    notes = {name: value for name, value in saved.notes.items() if name == "optimizer"}
    with redirect_stdout(sys.stderr):
        content = smaller_bytes(arguments.net, smaller, example) if own else as_bytes(smaller, extra, notes)
        files = {out: content, beside: f"{text}\n".encode()}
        if exported is not None:
            files[exported], _ = as_onnx(smaller, example)
    write_together(files)
    said = [
        *in_words(report["removal"], report["certificate"]),
        *(f"left whole: {note}" for note in removal.notes),
        f"files: {', '.join(map(str, files))}",
    ]
    print(text) if arguments.json else say("\n".join(said))
    return 0


def _checked(arguments: argparse.Namespace, network: Path) -> tuple[Path, Path | None]:
    """The names of the certificate and of the ONNX file, if there is to be one."""
    from evidence.files import check_place

    out = arguments.out
    if arguments.net is not None and arguments.data is None:
        raise InputError("--net without --data: images that the network takes are accepted")
    if arguments.empirical and arguments.data is None:
        raise InputError("--empirical without --data: the images that the network was trained on are accepted")
    if arguments.tolerance is not None and not 0 <= arguments.tolerance < float("inf"):
        raise InputError(f"--tolerance {arguments.tolerance}: a number from 0 is accepted")
    for name in ("classes", "size", "label_noise"):
        if getattr(arguments, name) and arguments.data is None:
            raise InputError(f"--{name.replace('_', '-')} without --data: both or neither is accepted")
    if not out.name or out.suffix in (".json", ".onnx"):
        raise InputError(f"--out {out}: a file name such as smaller.safetensors is accepted")
    files = [out, out.with_suffix(".json"), *([out.with_suffix(".onnx")] if arguments.onnx else [])]
    if any(file.resolve() == network.resolve() for file in files):
        raise InputError(f"--out {out} would replace the network that is read: another name is accepted")
    for file in files:
        check_place(file)
    if arguments.data is not None:
        from fullscale.data import check_source

        check_source(arguments.data)
    return files[1], files[2] if arguments.onnx else None


def _feed(arguments: argparse.Namespace, net: nn.Module, live: Live) -> Resident:
    from fullscale.feed import Resident

    images = given_images(arguments, live)
    channels = getattr(getattr(net, "config", None), "in_channels", None)
    if channels is not None and images.train.images.shape[1] != channels:
        raise InputError(
            f"{arguments.data} has images of {images.train.images.shape[1]} channels: {channels}, as the network "
            "reads, is accepted"
        )
    return Resident(images)


def _images(net: nn.Module, count: int, feed: Resident | None) -> Tensor:
    """Images of the size that the network is meant for."""
    import torch

    if feed is not None:
        return next(feed.test(count))[0]
    config: Any = net.config
    side = SIDE.get(getattr(config, "head", ""), SMALL)
    return torch.randn(count, config.in_channels, side, side, generator=torch.Generator().manual_seed(0))


def _certificate(net: nn.Module, smaller: nn.Module, feed: Resident | None) -> Certificate:
    import torch

    from fullscale.prune import certify

    shape = _images(net, 1, feed).shape[1:]
    numbers: dict[str, Any] = {
        "random_images": max(2, min(256, NUMBERS // shape.numel())),
        "timed": (1, TIMED),
    }
    if feed is None:
        return certify(net, smaller, shape=tuple(shape), **numbers)
    parts = list(feed.test(BATCH))
    x, y = (torch.cat([part[i] for part in parts]) for i in range(2))
    # A network of other classes has no error on these.
    fits = classes(net, x[:2]) == len(feed.classes)
    return certify(net, smaller, x, y if fits else None, **numbers)


def in_words(removal: Mapping[str, Any], c: Mapping[str, Any]) -> list[str]:
    """A removal and its certificate, as plain data, for a terminal."""
    counts = ", ".join(
        f"{name.replace('_', ' ')} {sum(layer[name] for layer in removal['layers'])}" for name in CLASSES
    )
    seen = f"none to tell on {c['random_images']} random images, for which the networks give nothing finite"
    if c["random_difference"] is not None:
        seen = f"{c['random_difference']:.2e} on {c['random_images']} random images"
    if c["held_out_difference"] is not None:
        seen = f"{c['held_out_difference']:.2e} on {c['held_out_images']} test images, {seen}"
    if c["resized_difference"] is not None:
        seen += f", {c['resized_difference']:.2e} at {' x '.join(map(str, c['resized']))} pixels"
    lines = [
        f"removed: {removal['share']:.1%} of the filters; {counts}",
        f"largest output difference: {seen}; rounding alone: {c['rounding']:.2e}",
    ]
    if c["error_before"] is not None:
        lines.append(f"test error: {c['error_before']:.2%} before, {c['error_after']:.2%} after")
    lines.append(
        f"parameters: {c['parameters_before']:,} -> {c['parameters_after']:,}; "
        f"multiply-adds: {c['multiply_adds_before']:,} -> {c['multiply_adds_after']:,}"
    )
    for t in c["latency"]:
        before, after = (f"{median:.3g} ms [{low:.3g}, {high:.3g}]" for median, low, high in (t["before"], t["after"]))
        lines.append(f"time for {t['images']} image{'s' if t['images'] > 1 else ''}: {before} -> {after}")
    return lines

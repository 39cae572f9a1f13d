"""`undertow train`: train a CNN on images, measure its inactive filters, remove the dead ones and certify the smaller
network.

The run is written to OUT after every epoch: the same command again goes on where it was. Started by torchrun
--nproc-per-node N -m undertow train, N processes share each batch.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamics.errors import InputError
from undertow.commands.arguments import (
    Parser,
    add_images,
    add_out,
    add_setting,
    given_setting,
    named,
    number,
    path,
    say,
    whole,
)

if TYPE_CHECKING:
    from dynamics.answers.setting import Setting
    from fullscale.checkpoint import Saved
    from fullscale.data import Files, Images
    from fullscale.execution import Execution
    from fullscale.feed import Feed
    from fullscale.outcome import Outcome
    from fullscale.spec import RunSpec
    from fullscale.stream import Streamed

RUN = "training.safetensors"


def add(parser: Parser) -> None:
    """Add its flags."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="digits, or a folder or archive of CIFAR, TinyImageNet, ImageNet, IDX files, or images (one subfolder a class)",
    )
    parser.add_argument("--optimizer", default="adam", metavar="NAME", help="a rule's name, as in explain (adam)")
    add_setting(parser)
    task = parser.add_argument_group("network and data")
    task.add_argument(
        "--model",
        metavar="NAME",
        help="basicnet, vgg11, vgg16, vgg19, resnet20, resnet56, resnet18 or resnet50 (basicnet)",
    )
    task.add_argument("--head", metavar="NAME", help="cifar or imagenet (cifar)")
    task.add_argument("--width", type=number, metavar="X", help="the network's filters times this, up to 16 (0.125)")
    task.add_argument(
        "--from", dest="start", type=path, metavar="FILE", help="start from the network of this file, pruned or not"
    )
    add_images(task, "only these classes: an easier task")
    task.add_argument(
        "--augment",
        action="store_true",
        help="shift training images by up to 4 pixels (an eighth of --size), and mirror them; of larger pictures on disk, "
        "take random crops",
    )
    task.add_argument("--batch", type=whole, default=40, metavar="N", help="images a step, 2 or more (40)")
    task.add_argument(
        "--epochs", type=whole, default=10, metavar="N", help="passes over the training images, up to 10^9 (10)"
    )
    task.add_argument("--seed", type=whole, default=0, metavar="N", help="of the first weights and the data order (0)")
    task.add_argument(
        "--schedule",
        default="step",
        metavar="NAME",
        help="constant, step (lr / 10 for the last fifth) or cosine (step)",
    )
    how = parser.add_argument_group("how it is run")
    how.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (cuda where there is one)")
    how.add_argument("--precision", default="float32", metavar="NAME", help="float32 or bf16 (float32)")
    for name, what in (("compile", "torch.compile"), ("graphs", "CUDA graphs")):
        how.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=f"{what} (on cuda yes, on cpu no)")
    how.add_argument(
        "--sync-batchnorm",
        action="store_true",
        help="with torchrun: BatchNorm of the whole batch, not of each process's part",
    )
    how.add_argument("--deterministic", action="store_true", help="the same numbers at every run on one device")
    how.add_argument(
        "--record",
        action="store_true",
        help="keep what undertow forecast needs, in training.safetensors",
    )
    how.add_argument("--tensorboard", action="store_true", help="write the curves for TensorBoard, too")
    add_out(parser, f"network.safetensors, smaller.safetensors, {RUN} and results.sqlite")


def run(arguments: argparse.Namespace) -> int:
    """Print the measures and the certificate; exit status 1 if the run diverged."""
    from evidence.files import check_folder, writing
    from undertow.extras import needs_fullscale

    needs_fullscale()
    from dynamics.answers.setting import parse
    from fullscale.data import Images, check_source, open_source
    from fullscale.spec import RunSpec

    setting = parse(arguments.optimizer, given_setting(arguments))
    task = {"size": arguments.size, "label_noise": arguments.label_noise}
    # Checked before torch is loaded and the data are read: a typo should not cost a minute.
    if arguments.start is None:
        RunSpec(digest="", **task, **_numbers(arguments, setting, None))
    check_source(arguments.data)
    check_folder(arguments.out)
    from evidence.progress import Live
    from evidence.store import Store
    from fullscale.distributed import place
    from fullscale.sweep import KIND, as_row
    from fullscale.train import one_thread, train

    # As in a sweep: the store holds both under one key, so both must come out the same.
    one_thread()
    start = _start(arguments)
    numbers = _numbers(arguments, setting, start)
    numbers |= {"processes": place().size, "sync_batchnorm": arguments.sync_batchnorm}
    RunSpec(digest="", **task, **numbers)
    execution = _execution(arguments)
    leads = place().rank == 0
    with writing(arguments.out, "train") if leads else nullcontext(arguments.out) as folder, Live() as live:
        if leads:
            for note in setting.notes:
                live.line(note)
            live.line(f"reading {arguments.data}")
        source, task = _prepared(open_source(arguments.data), arguments)
        spec = RunSpec(digest=source.digest, **task, **numbers)
        images: Images | Feed = source if isinstance(source, Images) else _streamed(source, spec, execution)
        if not leads:
            train(spec, images, execution=execution, checkpoint=folder / RUN, start=start)
            return 0
        with Store(folder / "results.sqlite") as store, _writer(arguments, folder) as write:
            bar = live.task(f"{spec.optimizer} on {source.name}", spec.epochs)
            outcome = train(
                spec,
                images,
                lambda done, losses: bar(done, spec.epochs, f"loss {losses[0]:.4g}"),
                execution=execution,
                checkpoint=folder / RUN,
                start=start,
                write=write,
            )
            store.put(KIND, spec.as_dict(), **as_row(outcome))
        said = None if outcome.net is None else _certified(outcome, folder)
    if said is None:
        print(f"diverged: {outcome.error}", file=sys.stderr)
        return 1
    say(said)
    return 0


def _prepared(source: Images | Files, arguments: argparse.Namespace) -> tuple[Images | Files, dict[str, Any]]:
    """The images that the run trains on, and what of the spec says how they were made from those of the source."""
    from fullscale.data import Images, canonical, prepared

    how = named(arguments.classes, source.classes), arguments.size, arguments.label_noise
    if isinstance(source, Images):
        return prepared(source, *how), canonical(source, *how)
    for flag, given in (("classes", how[0]), ("label-noise", how[2])):
        if given:
            raise InputError(
                f"--{flag} {given} of pictures that stay on disk: accepted for images that fit into memory"
            )
    from fullscale.stream import SIDE

    # The side that they have anyway is none of the key.
    return source, {"size": 0 if arguments.size == SIDE else arguments.size}


def _streamed(source: Files, spec: RunSpec, execution: Execution) -> Streamed:
    """Pictures on disk, as squares of the size asked for."""
    from fullscale.stream import Streamed

    size = {"size": spec.size} if spec.size else {}
    return Streamed(source, execution.device, augment=spec.augment, **size)


def _numbers(arguments: argparse.Namespace, setting: Setting, start: Saved | None) -> dict[str, Any]:
    """What the run is, but for the data and the processes that share it."""
    defaults = setting.rule.defaults
    return {
        "optimizer": setting.rule.name,
        "coupling": setting.coupling.name,
        "lr": setting.lr,
        "strength": setting.strength,
        "hyper": tuple((name, value) for name, value in setting.hyper.items() if value != defaults[name]),
        **_network(arguments, start),
        "batch": arguments.batch,
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "schedule": arguments.schedule,
        "augment": arguments.augment,
        "precision": arguments.precision,
        "record": arguments.record,
        "start": _digest(arguments.start) if arguments.start else "",
    }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): a network's safetensors file is accepted"
        ) from error


def _execution(arguments: argparse.Namespace) -> Execution:
    from dataclasses import replace

    from fullscale.distributed import place
    from fullscale.execution import Execution

    best, here = Execution.best(arguments.device), place()
    if here.size > 1:
        device = f"cuda:{here.local_rank}" if best.device == "cuda" else best.device
        if device.startswith("cuda") and arguments.device not in (None, "cuda"):
            raise InputError(
                f"--device {arguments.device} with torchrun: cuda, of which each process takes its own, is accepted"
            )
        best = replace(best, device=device, compile=False, graphs=False)
    asked = {name: value for name in ("compile", "graphs") if (value := getattr(arguments, name)) is not None}
    return replace(best, deterministic=arguments.deterministic, **asked)


def _start(arguments: argparse.Namespace) -> Saved | None:
    from fullscale.checkpoint import load as load_saved

    if arguments.start and arguments.start.resolve().parent == arguments.out.resolve():
        raise InputError(f"--from {arguments.start} in the folder that is written to: another --out is accepted")
    return load_saved(arguments.start) if arguments.start else None


def _network(arguments: argparse.Namespace, start: Saved | None) -> dict[str, Any]:
    """Model, head and width: those asked for, or those of the file to start from."""
    given = {name: value for name in ("model", "head", "width") if (value := getattr(arguments, name)) is not None}
    if start is None:
        return {"model": "basicnet", "head": "cifar", "width": 0.125} | given
    if given:
        raise InputError(f"{', '.join(f'--{name}' for name in given)} with --from: the file says what its network is")
    config: Any = start.net.config
    # A chain says how wide it is by its filters alone; of BasicNet, the first of which has 64.
    own = (
        {"model": "basicnet", "head": "cifar", "width": config.channels[0] / 64} if hasattr(config, "channels") else {}
    )
    return own or {name: getattr(config, name) for name in ("model", "head", "width")}


@contextmanager
def _writer(arguments: argparse.Namespace, folder: Path) -> Iterator[Callable[[dict[str, float]], None] | None]:
    """What writes a point of the curves for TensorBoard, if that is asked for."""
    if not arguments.tensorboard:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("'tensorboard' is missing: install undertow[tensorboard]") from None
    with ExitStack() as stack:
        boards: list[SummaryWriter] = []

        def write(point: dict[str, float]) -> None:
            if not boards:  # it makes its folder, which a run that is refused shall not leave
                boards.append(stack.enter_context(SummaryWriter(folder / "tensorboard")))
            for name, value in point.items():
                if name != "epoch":
                    boards[0].add_scalar(name, value, int(point["epoch"]))

        yield write


def _certified(outcome: Outcome, folder: Path) -> str:
    """Save the trained and the smaller network; the measures and the certificate for people."""
    from fullscale.checkpoint import save
    from undertow.commands.prune import in_words

    s, net, smaller = outcome.summary, outcome.net, outcome.smaller
    assert net is not None
    assert smaller is not None
    save(net, folder / "network.safetensors")
    save(smaller, folder / "smaller.safetensors")
    return "\n".join(
        [
            f"inactive filters: {s['inactive_by_activation']:.1%} by activation, {s['inactive_by_scale']:.1%} by scale",
            *in_words(s["removal"], s["certificate"]),
            f"networks: {folder / 'network.safetensors'}, {folder / 'smaller.safetensors'}",
        ]
    )

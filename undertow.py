"""undertow: what an optimizer and its regularizer do to a weight, from the formula to filters that die in a real CNN.

The command line, and the names that a user imports. Heavy modules load when they are needed, so that help is instant.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from dynamics.couplings import COUPLINGS, find_coupling
from dynamics.errors import InputError
from dynamics.rule import check
from dynamics.rules import RULES, find_rule

if TYPE_CHECKING:
    from dynamics.explain import Explanation
    from fullscale.train import Outcome

__all__ = ["COUPLINGS", "RULES", "InputError", "find_coupling", "find_rule", "main"]

Number = Annotated[float | None, tyro.conf.arg(metavar="FLOAT")]
_HYPER = ("momentum", "alpha", "beta1", "beta2", "eps")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An optimizer's numbers, and the regularizer: by which coupling it enters, and how strong it is."""

    lr: Number = None
    """learning rate; the rule's default if not given"""
    l2: Number = None
    """short for --coupling l2 --strength FLOAT: L2 in the gradient, as torch.optim.Adam(weight_decay=)"""
    coupling: str = "none"
    """none, l2, decoupled_lr (torch's AdamW), decoupled_schedule (the AdamW paper) or decoupled_constant"""
    strength: Number = None
    """the regularizer's strength, entering by --coupling"""
    momentum: Number = None
    """of momentum and nesterov"""
    alpha: Number = None
    """of rmsprop"""
    beta1: Number = None
    """of adam"""
    beta2: Number = None
    """of adam"""
    eps: Number = None
    """of adam and rmsprop"""

    def pull(self) -> tuple[str, float]:
        """(coupling, strength), checked; none, 0 if nothing was given. InputError where the flags contradict."""
        coupling = find_coupling(self.coupling).name
        if self.l2 is not None:
            if self.strength is not None or coupling not in ("none", "l2"):
                raise InputError(f"--l2 {self.l2:g} beside --coupling or --strength: one regularizer is accepted")
            return "l2", check("strength", self.l2)
        if coupling == "none" and self.strength is not None:
            raise InputError(f"--strength {self.strength:g} without --coupling: accepted are {', '.join(COUPLINGS)}")
        if coupling != "none" and self.strength is None:
            raise InputError(f"--coupling {coupling} without --strength: a strength is needed")
        return coupling, check("strength", self.strength or 0.0)

    def hyper(self) -> dict[str, float]:
        """The hyperparameters that were given."""
        return {name: getattr(self, name) for name in _HYPER if getattr(self, name) is not None}


@dataclass(frozen=True, kw_only=True)
class Explain(Setting):
    """What a setting does to a weight: formula, decay without a gradient, stability limit."""

    optimizer: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OPTIMIZER")]
    """sgd, momentum, nesterov, adam or rmsprop"""
    json: bool = False
    """print the same as data"""

    def run(self) -> int:
        """Print the explanation."""
        from dynamics.explain import explain

        coupling, strength = self.pull()
        found = explain(self.optimizer, coupling, lr=self.lr, strength=strength, **self.hyper())
        print(json.dumps(found.as_dict(), indent=2) if self.json else _told(found))
        return 0


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Run every experiment that is not stored yet, judge the claims, draw the figures, write the report."""

    out: Path = Path("out")
    """folder for report.html, figures and results.sqlite; made if need be"""
    only: Annotated[str | None, tyro.conf.arg(metavar="{synthetic,fullscale}")] = None
    """run one part alone"""
    fresh: bool = False
    """run again what is stored"""

    def run(self) -> int:
        """Print the table of claims and the path of the report."""
        from figures.reproduce import reproduce, table

        findings, report = reproduce(self.out, self.only, self.fresh)
        print(table(findings))
        print(f"report: {report.resolve()}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Train(Setting):
    """Train BasicNet on images, measure its inactive filters, remove the dead ones and certify the smaller network."""

    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """digits, a folder or an archive of images (one subfolder a class), or a folder of IDX files"""
    optimizer: str = "adam"
    """sgd, momentum, nesterov, adam or rmsprop"""
    classes: tuple[str, ...] = ()
    """only these classes: an easier task"""
    width: float = 0.125
    """BasicNet's filters times this"""
    batch: int = 40
    """images a step"""
    epochs: int = 10
    """passes over the training images"""
    seed: int = 0
    """of the first weights and the data order"""
    schedule: str = "step"
    """constant, step (lr / 10 for the last fifth) or cosine"""
    out: Path = Path("out")
    """folder for network.safetensors, smaller.safetensors and results.sqlite; made if need be"""

    def run(self) -> int:
        """Print the measures and the certificate; exit status 1 if the run diverged."""
        from figures.reproduce import needs_fullscale, writable

        needs_fullscale()
        from figures.progress import Live
        from fullscale.data import load
        from fullscale.spec import RunSpec
        from fullscale.store import Store
        from fullscale.sweep import KIND, as_row
        from fullscale.train import one_thread, train

        # As in a sweep: the store holds both under one key, so both must come out the same.
        one_thread()
        coupling, strength = self.pull()
        numbers: dict[str, Any] = {
            "width": self.width,
            "batch": self.batch,
            "epochs": self.epochs,
            "seeds": (self.seed,),
        }
        lr = find_rule(self.optimizer).lr if self.lr is None else self.lr
        numbers |= {"lr": lr, "strength": strength, "hyper": tuple(self.hyper().items()), "schedule": self.schedule}
        # Checked before the data are read: a typo should not cost a minute.
        RunSpec(digest="", optimizer=self.optimizer, coupling=coupling, **numbers)
        with Live() as live:
            live.line(f"reading {self.data}")
            images = load(self.data)
            if self.classes:
                images = images.select(self.classes)
            spec = RunSpec(digest=images.digest, optimizer=self.optimizer, coupling=coupling, **numbers)
            folder = writable(self.out)
            with Store(folder / "results.sqlite") as store:
                task = live.task(f"{self.optimizer} on {images.name}", self.epochs)
                [outcome] = train(spec, images, lambda done, losses: task(done, self.epochs, f"loss {losses[0]:.4g}"))
                store.put(KIND, spec.as_dict(), **as_row([outcome]))
        if outcome.net is None:
            print(f"diverged: {outcome.error}", file=sys.stderr)
            return 1
        print(_certified(outcome, folder))
        return 0


@dataclass(frozen=True, kw_only=True)
class Tune:
    """Redo the learning-rate grid of the CNN experiment and write its outcome (it took about 10 minutes on two cores)."""

    out: Path = Path("out")
    """folder for tuned.json and results.sqlite; made if need be"""

    def run(self) -> int:
        """Print the chosen learning rates."""
        from figures.reproduce import tune, writable

        found = tune(writable(self.out))
        for name, cell in found["chosen"].items():
            print(f"{name:10} lr {cell['lr']:<8g} validation accuracy {cell['accuracy']:.2%}, {cell['seeds']} seeds")
        print(f"outcome: {(self.out / 'tuned.json').resolve()}")
        return 0


COMMANDS = {"explain": Explain, "reproduce": Reproduce, "train": Train, "tune": Tune}


def _told(e: Explanation) -> str:
    """An explanation for people."""
    hyper = "".join(f", {name} {value:g}" for name, value in e.hyperparameters.items())
    lines = [f"{e.optimizer} with {COUPLINGS[e.coupling].label}: lr {e.lr:g}, strength {e.strength:g}{hyper}"]
    lines += [f"  {e.paper}; as {e.semantics}"]
    lines += [f"  elsewhere: {e.differs}"] if e.differs else []
    lines += ["", "One step (t = 1, 2, ...):"]
    lines += [f"  {name} <- {text}" for name, text in e.formula.items()]
    lines += ["", "The first step without a gradient:", f"  w <- {e.one_step_formula}"]
    lines += [f"  1 -> {e.one_step_from_1:.10g}", "", "Steps from 1 to 1e-3 without a gradient, at this strength:"]
    for name, passage in e.steps_from_1_to_1e_3.items():
        taken = passage.how if passage.steps is None else f"{passage.steps:,} ({passage.how})"
        lines.append(f"  {COUPLINGS[name].label:26} {taken}")
    lines += ["", "Stability on curvature h, with P = sqrt(v) + eps for a rule that divides by it:"]
    lines.append(f"  eta < {e.stability.formula}")
    if e.stability.without_gradient is not None:
        lines.append(f"  without a gradient: lr < {e.stability.without_gradient:.4g}")
    return "\n".join([*lines, "", *(f"warning: {text}" for text in e.warnings)]).rstrip()


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


def _parse(arguments: list[str]) -> Any:
    """The command that was asked for. tyro reports a mistake in a box of many lines; here it becomes one."""
    commands: Any = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items())
    union = commands[0]
    for command in commands[1:]:
        union = union | command
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(union, prog="undertow", args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(said.getvalue())) from None


def _one_line(box: str) -> str:
    """The text of tyro's box without its list of help texts, and without the words of Python's own errors."""
    rows = [re.sub(r"^[│\s]+|[│\s]+$", "", row) for row in box.splitlines() if not row.startswith(("╭", "╰"))]
    if "╭" not in box:  # where the output is not UTF-8, the box is a title and lines of dashes
        rows = [re.sub(r"^-{3,}$", "─────", row) for row in rows if row][2:]
    text = " ".join(row for row in rows if row)
    text = re.sub(r"Error parsing (\S+): no type matching .*? from \[(.*?)\].*", r"\1 \2: a number is accepted", text)
    text = re.sub(r"Error parsing (\S+): could not .* to float: (.*?) ─.*", r"\1 \2: a number is accepted", text)
    text = re.sub(r"Error parsing (\S+): .* for int\(\) .*?: (.*?) ─.*", r"\1 \2: a whole number is accepted", text)
    text = re.split(r"─{3,}\s*Argument helptext", text)[0]
    text = re.sub(r"For full helptext, (?:run|see):?", "see", text)
    return re.sub(r"\.?\s*─{3,}\s*", "; ", text).strip("; ")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status. 2: an input that cannot be used, said in one line."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a bullet shows a question mark
        sys.stdout.reconfigure(errors="replace")
    try:
        command: Callable[[], int] = _parse(sys.argv[1:] if arguments is None else arguments).run
        return command()
    except InputError as error:
        print(f"undertow: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "undertow: interrupted; what was finished is stored, the same command goes on from there", file=sys.stderr
        )
        return 130
    except BrokenExecutor:
        print(
            "undertow: a worker process was killed; what was finished is stored, run the same command again",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:  # the reader of our output has left, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())

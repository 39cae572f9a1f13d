"""docs/probe.md: what `undertow.probe` says of optimizers that are right, and of such with a fault each.

python -m docs.probed runs it on all of them, some minutes, and writes docs/probed.json.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from docs.fill import ROOT, read
from evidence.files import write_whole

PROBED = "docs/probed.json"
PACKAGES = ("torch", "optax", "pytorch_optimizer", "schedulefree")


def right() -> Iterator[tuple[str, Callable[..., Any], str, str]]:
    """(name, factory, rule, coupling) of optimizers that do what they say; "" where it is none of the rules here."""
    import optax
    import pytorch_optimizer as po
    import schedulefree
    from torch import optim

    def made(kind: Any, **settings: Any) -> Callable[..., Any]:
        return lambda parameters: kind(parameters, **settings)

    decay = {"weight_decay": 0.05}
    yield "torch.optim.SGD", made(optim.SGD, lr=0.1, **decay), "sgd", "l2"
    yield "torch.optim.SGD(momentum=)", made(optim.SGD, lr=0.1, momentum=0.9, **decay), "momentum", "l2"
    yield (
        "torch.optim.SGD(nesterov=True)",
        made(optim.SGD, lr=0.1, momentum=0.9, nesterov=True, **decay),
        "nesterov",
        "l2",
    )
    yield "torch.optim.Adam", made(optim.Adam, **decay), "adam", "l2"
    yield (
        "torch.optim.Adam(decoupled_weight_decay=True)",
        made(optim.Adam, decoupled_weight_decay=True, **decay),
        "adam",
        "decoupled_lr",
    )
    yield "torch.optim.Adam(amsgrad=True)", made(optim.Adam, amsgrad=True, **decay), "amsgrad", "l2"
    yield "torch.optim.AdamW", made(optim.AdamW), "adam", "decoupled_lr"
    yield "torch.optim.AdamW(amsgrad=True)", made(optim.AdamW, amsgrad=True), "amsgrad", "decoupled_lr"
    yield "torch.optim.Adamax", made(optim.Adamax, **decay), "adamax", "l2"
    yield "torch.optim.Adagrad", made(optim.Adagrad, **decay), "adagrad", "l2"
    yield "torch.optim.Adadelta", made(optim.Adadelta, **decay), "adadelta", "l2"
    yield "torch.optim.RMSprop", made(optim.RMSprop, **decay), "rmsprop", "l2"
    yield "torch.optim.RMSprop(momentum=)", made(optim.RMSprop, momentum=0.9, **decay), "rmsprop_momentum", "l2"
    yield (
        "torch.optim.RMSprop(centered=True)",
        made(optim.RMSprop, centered=True, momentum=0.5, **decay),
        "rmsprop_centered",
        "l2",
    )
    yield "torch.optim.NAdam", made(optim.NAdam, **decay), "nadam", "l2"
    yield (
        "torch.optim.NAdam(decoupled_weight_decay=True)",
        made(optim.NAdam, decoupled_weight_decay=True, **decay),
        "nadam",
        "decoupled_lr",
    )
    yield "torch.optim.RAdam", made(optim.RAdam, **decay), "radam", "l2"
    yield (
        "torch.optim.RAdam(decoupled_weight_decay=True)",
        made(optim.RAdam, decoupled_weight_decay=True, **decay),
        "radam",
        "decoupled_lr",
    )
    yield "torch.optim.Muon", made(optim.Muon), "muon", "decoupled_lr"
    for kind in (optim.ASGD, optim.Adafactor, optim.LBFGS, optim.Rprop):
        yield f"torch.optim.{kind.__name__}", made(kind), "", ""
    yield (
        "schedulefree.AdamWScheduleFree",
        made(schedulefree.AdamWScheduleFree, lr=0.01, **decay),
        "schedule_free",
        "decoupled_lr",
    )
    yield "pytorch_optimizer.AdaBelief", made(po.AdaBelief, **decay), "adabelief", "decoupled_lr"
    yield (
        "pytorch_optimizer.AdaMax(weight_decouple=True)",
        made(po.AdaMax, weight_decouple=True, **decay),
        "adamax",
        "decoupled_lr",
    )
    yield (
        "pytorch_optimizer.Adan(weight_decouple=True)",
        made(po.Adan, weight_decouple=True, **decay),
        "adan",
        "decoupled_lr",
    )
    yield "pytorch_optimizer.Lion", made(po.Lion, **decay), "lion", "decoupled_lr"
    yield "pytorch_optimizer.Lion(weight_decouple=False)", made(po.Lion, weight_decouple=False, **decay), "lion", "l2"
    yield "pytorch_optimizer.SGDW(momentum=)", made(po.SGDW, momentum=0.9, **decay), "momentum", "decoupled_lr"
    for alias, rule, coupling in (
        *((name, name, "none") for name in ("sgd", "adam", "adamax", "lamb", "lars")),
        ("adamw", "adam", "decoupled_lr"),
        ("adamaxw", "adamax", "decoupled_lr"),
        ("lion", "lion", "decoupled_lr"),
    ):
        yield f"optax.{alias}", getattr(optax, alias), rule, coupling


def measured() -> dict[str, Any]:
    """What the probe says of all of them."""
    from docs import others
    from docs.planted import NOTED, PLANTED
    from dynamics.probe import probe

    found: dict[str, Any] = {"right": [], "planted": [], "noted": [], "differing": []}
    elsewhere = [(other.kind, other.make(), other.rule, other.coupling) for other in others.installed(others.RIGHT)]
    for name, make, rule, coupling in (*right(), *elsewhere):
        one = probe(make)
        answer = one.answers[0]
        entry = {"name": name, "rule": rule, "coupling": coupling, "says": str(answer), "wrong": list(one.wrong)}
        named = (answer.rule, answer.coupling) == (rule, coupling) if rule else not answer.found
        found["right"].append(entry | {"named": named})
        print(f"{name}: {answer}{' WRONG ' if one.wrong or not named else ''}", flush=True)
    for kind, several in (("planted", PLANTED), ("noted", NOTED)):
        for planted in several:
            one = probe(planted.make)
            lines = one.wrong if kind == "planted" else tuple(f.said for f in one.findings if f.kind == "note")
            line = next((line for line in lines if planted.says in line), "")
            found[kind].append({"fault": planted.fault, "line": line})
            print(f"{planted.fault}: {line or 'NOT FOUND ' + str(lines)}", flush=True)
    for differing in others.installed(others.DIFFERING):
        line = next((line for line in probe(differing.make()).wrong if differing.says in line), "")
        claimed, acts = others.silent(differing)
        entry = {"name": differing.kind, "documented": differing.documented, "line": line}
        found["differing"].append(entry | {"claimed": claimed, "acts": acts})
        print(f"{differing.kind}: {line or 'NOT FOUND'}, {claimed}, {acts}", flush=True)
    here = [name for name in (*PACKAGES, *others.PACKAGES) if importlib.util.find_spec(name) is not None]
    found["made"] = {"date": f"{datetime.now(UTC):%Y-%m-%d}"} | {name: metadata.version(name) for name in here}
    return found


def table(name: str) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Columns and rows of a table: right, planted, noted or differing. KeyError for others."""
    found = read(PROBED)[name]
    if name == "differing":
        columns = (
            "optimizer",
            "its documentation",
            "what the probe says",
            "1 and -1, as documented",
            "1 and -1, as it acts",
        )
        return columns, [
            (
                f"`{e['name']}`",
                e["documented"],
                e["line"],
                *(" and ".join(f"{w:.4g}" for w in e[k]) for k in ("claimed", "acts")),
            )
            for e in found
        ]
    if name == "right":
        rows: list[Sequence[str]] = [
            (f"`{e['name']}`", e["says"] if e["rule"] else "none of the rules here", "yes" if e["wrong"] else "no")
            for e in found
        ]
        return ("optimizer", "what the probe says", "false alarm"), rows
    return ("what is planted" if name == "planted" else "what is so", "the line that says it"), [
        (e["fault"], e["line"] or "not found") for e in found
    ]


def value(name: str) -> str:
    """Numbers: `right`, `named`, `alarms`, `planted`, `found`, `made`. KeyError for others."""
    found = read(PROBED)
    numbers = {
        "right": len(found["right"]),
        "named": sum(e["named"] for e in found["right"]),
        "alarms": sum(bool(e["wrong"]) for e in found["right"]),
        "planted": len(found["planted"]),
        "found": sum(bool(e["line"]) for e in found["planted"]),
    }
    if name == "made":
        return ", ".join(f"{name} {version}" for name, version in found["made"].items() if name != "date")
    return f"{numbers[name]:,}"


def main() -> int:
    """Write docs/probed.json; 1 if something was not found or a right one was accused."""
    found = measured()
    write_whole(ROOT / PROBED, (json.dumps(found, indent=1) + "\n").encode())
    clean = all(e["named"] and not e["wrong"] for e in found["right"])
    return 0 if clean and all(e["line"] for kind in ("planted", "noted", "differing") for e in found[kind]) else 1


if __name__ == "__main__":
    sys.exit(main())

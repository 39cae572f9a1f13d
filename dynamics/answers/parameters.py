"""What the parameters of a param group are: weights, biases, norms, embeddings; by their modules, else by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What a recipe usually leaves out of the decay.
USUALLY_LEFT_OUT = ("norms", "biases")
_NORM = re.compile(r"norm|^ln(_|\d|$)|^bn\d*$")
_EMBEDDING = re.compile(r"embed|^wte$|^wpe$")


@dataclass(frozen=True)
class Kind:
    """The parameters of one kind in a group. kind: weights, biases, norms, embeddings, or "one-dimensional" where neither a
    name nor a module says whether they are biases or norms; names: as far as they are known."""

    kind: str
    tensors: int
    weights: int
    names: list[str]


def named(optimizer: Any, net: Any = None) -> dict[int, str]:
    """The name of every parameter that has one, by its id: by the net's own, else by those that the optimizer was given."""
    found: dict[int, str] = {}
    for group in optimizer.param_groups:
        for p, name in zip(group["params"], group.get("param_names", ()), strict=False):
            found[id(p)] = name
    return found | ({} if net is None else {id(p): name for name, p in net.named_parameters()})


def by_module(net: Any) -> dict[int, str]:
    """The kind that a parameter's own module gives it, by its id."""
    found: dict[int, str] = {}
    for module in () if net is None else net.modules():
        kind = "norms" if "Norm" in type(module).__name__ else "embeddings" if "Embed" in type(module).__name__ else ""
        if kind:
            found |= {id(p): kind for p in module.parameters(recurse=False)}
    return found


def kinds(params: Iterable[Any], names: Mapping[int, str], modules: Mapping[int, str]) -> list[Kind]:
    """The parameters by kind, the most weights first."""
    sorted_: dict[str, list[Any]] = {}
    for p in params:
        sorted_.setdefault(modules.get(id(p)) or _by_name(names.get(id(p), ""), p.ndim), []).append(p)
    found = [
        Kind(kind, len(ps), sum(p.numel() for p in ps), [names[id(p)] for p in ps if id(p) in names])
        for kind, ps in sorted_.items()
    ]
    return sorted(found, key=lambda k: -k.weights)


def _by_name(name: str, dimensions: int) -> str:
    parts = name.lower().split(".")
    if dimensions <= 1 and any(map(_NORM.search, parts)):
        return "norms"
    if parts[-1] == "bias" or parts[-1].endswith("_bias"):
        return "biases"
    if any(map(_EMBEDDING.search, parts)):
        return "embeddings"
    return "weights" if dimensions > 1 else "one-dimensional"

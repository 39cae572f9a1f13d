"""The reference page of all rules and couplings, made from their metadata.

`python -m dynamics.libraries.reference > docs/optimizers.md` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from dynamics.couplings import COUPLINGS, Coupling
from dynamics.door import checked
from dynamics.libraries.catalogue import elsewhere
from dynamics.rule import Rule
from dynamics.rules import RULES

_HEAD = """# Rules and couplings

Every rule runs with every coupling. The table says which library offers a pair as one optimizer, or as a chain of its
parts, with the very formula of this project; what differs, if only in a detail, is not in it but under the rule. Each
offer of torch, optax, pytorch_optimizer and schedulefree is held to its trajectory by the tests in tests/conformance, in
float64 to 1e-12 (torch's Muon, which computes in bfloat16, to that precision; ScheduleFreeAdamW of pytorch_optimizer to
1e-11); timm 1.0.31 was compared by hand.
"""
_LIBRARIES = ("torch", "optax", "pytorch_optimizer", "schedulefree", "timm")
_UNITS = {"weight": "", "tensor": "; looks at the norms of a whole tensor", "matrix": "; acts on a matrix"}


@checked
def offers(rule: Rule, coupling: Coupling) -> list[str]:
    """What libraries offer that is `rule` with `coupling`, each as it is called there."""
    return [offer for offer in elsewhere(rule).offered.get(coupling.name, "").split("; ") if offer]


@checked
def libraries(rule: Rule, coupling: Coupling) -> str:
    """The libraries that offer `rule` with `coupling`."""
    offering = {offer.split(".")[0] for offer in offers(rule, coupling)}
    return ", ".join(sorted(offering, key=_LIBRARIES.index))


def _state(rule: Rule) -> str:
    starts = {"w": "the first weight"}
    fields = [
        f"{name} (from {starts.get(rule.starts[name], rule.starts[name])})" if name in rule.starts else name
        for name in rule.state
    ]
    clock = f"; clock {', '.join(rule.clock)}" if rule.clock else ""
    return (", ".join(fields) or "none") + clock


def _entry(rule: Rule) -> Iterator[str]:
    defaults = {"lr": rule.lr, **rule.defaults}
    yield f"## {rule.name}\n"
    yield f"- paper: {rule.paper}"
    yield f"- defaults: {', '.join(f'{name} {value:g}' for name, value in defaults.items())}"
    yield f"- state: {_state(rule)}{_UNITS[rule.unit]}"
    yield f"- semantics: {rule.semantics}"
    if elsewhere(rule).differs:
        yield f"- where others differ: {elsewhere(rule).differs}"
    for name in elsewhere(rule).offered:
        yield f"- {name}: {', '.join(f'`{offer}`' for offer in offers(rule, COUPLINGS[name]))}"
    yield ""


def page() -> str:
    """The page as Markdown: the couplings, the table rule x coupling, an entry for each rule."""
    lines = [_HEAD, "| coupling | | source |", "|---|---|---|"]
    lines += [f"| {c.name} | {c.label} | {c.source} |" for c in COUPLINGS.values()]
    columns = [coupling for coupling in COUPLINGS.values() if coupling.name != "none"]
    lines += ["", f"| rule | {' | '.join(coupling.name for coupling in columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {r.name} | {' | '.join(libraries(r, coupling) for coupling in columns)} |" for r in RULES.values()]
    lines += ["", *(line for rule in RULES.values() for line in _entry(rule))]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")

"""The explorer: one page that needs no network, in which sliders redraw what a regularizer does to a weight.

Its JavaScript for rules, couplings, gradients, closed forms and random numbers is printed from the functions of `dynamics`
(`figures.javascript`); explorer.js and explorer_plot.js hold the controls and the drawing, and no formula.

`python -m figures.explorer FILE` writes it.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import sympy as sp

from dynamics.couplings import COUPLINGS, Coupling, compose
from dynamics.rule import Rule
from dynamics.rules import RULES
from dynamics.simulate import random
from dynamics.simulate.gradients import selective
from dynamics.theory import closed
from dynamics.theory.formula import spoken, symbol
from dynamics.theory.formula.update import at_step, of_tensors, shown
from dynamics.words import Words, symbols
from evidence.files import write_whole
from figures import javascript
from figures.style import colour_of, label_of

# The world of the page: first weight, size that counts as dead, steps, and the gradient's standard deviation on arrival,
# mean and target (no pull towards any: the loss looks elsewhere).
WORLD: dict[str, float] = {"start": 1.0, "floor": 1e-3, "steps": 5_000, "sigma": 1e-3, "pull": 0.0, "target": 0.0}
# What the page opens with, beside a rule's own lr and memory: a weight that dies under L2 and lives under decay.
OPENS_WITH: dict[str, Any] = {
    "optimizer": "adam",
    "coupling": "l2",
    "strength": 1e-2,
    "selectivity": 0.999,
    "batch": 1,
    "draw": 0,
    "log": 1,
}
_DASHES = {
    "decoupled_lr": "7 4",
    "none": "1.5 3.5",
}  # of what the chosen coupling is compared with, as in figures.style
_FUNCTIONS = {"sqrt": "√", "Abs": "abs", "Max": "max"}


def write(path: Path) -> None:
    """Write the page to `path`, replacing it in one step; InputError where it cannot be written."""
    write_whole(path, page().encode())


def page() -> str:
    """The page as HTML."""
    parts = {
        "STYLE": _beside("explorer.css"),
        "PRINTED": _printed(),
        "SCRIPT": _beside("explorer.js") + _beside("explorer_plot.js"),
        "RULES": _options({name: _label(name) for name in RULES}),
        "COUPLINGS": _options({c.name: c.label for c in COUPLINGS.values()}),
    }
    return re.sub(r"<!--([A-Z]+)-->", lambda mark: parts[mark[1]], _beside("explorer.html"))


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def memory(rule: Rule) -> str | None:
    """The hyperparameter that the page's beta2 slider moves: that by which a rule forgets its squares, or, where it has none,
    the last beta of its means; None for a rule that forgets nothing, or by momentum alone."""
    betas = [name for name in rule.defaults if name.startswith("beta")]
    return rule.memory or (betas[-1] if betas else None)


def _label(name: str) -> str:
    label = label_of(name)
    return label[0].upper() + label[1:]


def _options(labels: dict[str, str]) -> str:
    return "".join(f'<option value="{escape(name)}">{escape(label)}</option>' for name, label in labels.items())


def _printed() -> str:
    """The constants of the script: the world, what is said of rules and couplings, and the printed functions."""
    rows: dict[str, int] = {}  # many pairs share a row, so that each is kept once
    rules = {name: _described(rule, rows) for name, rule in RULES.items()}
    couplings = {c.name: {"label": c.label, "dash": _DASHES.get(c.name, "")} for c in COUPLINGS.values()}
    data = {
        **{"WORLD": WORLD, "OPENS_WITH": OPENS_WITH, "BURST": random.BURST},
        **{"RULES": rules, "COUPLINGS": couplings, "ROWS": list(rows)},
    }
    lines = [f"const {name} = {json.dumps(value, ensure_ascii=False)};" for name, value in data.items()]
    code = {
        **javascript.generator(),
        "selective": javascript.gradient(selective),
        "silentBatch": javascript.closed(closed.silent_batch),
        "criticalSelectivity": javascript.closed(closed.critical_selectivity, root=True),
        "criticalSelectivityOfMaximum": javascript.closed(closed.critical_selectivity, root=False),
    }
    lines += [f"const {name} = {function};" for name, function in code.items()]
    fresh = {name: javascript.fresh(rule) for name, rule in RULES.items()}
    steps = {
        name: _object({c.name: javascript.update(rule, c) for c in COUPLINGS.values()}) for name, rule in RULES.items()
    }
    lines += [f"const FRESH = {_object(fresh)};", f"const STEPS = {_object(steps)};"]
    return "\n".join(lines)


def _object(parts: dict[str, str]) -> str:
    inner = "".join(f"{name}: {code},\n" for name, code in parts.items())
    return f"{{\n{inner}}}"


def _described(rule: Rule, rows: dict[str, int]) -> dict[str, Any]:
    """What the page says of a rule. critical: which of the two closed forms holds for it, if one does."""
    critical = {"mean": "root", "maximum": "maximum"}.get(rule.divides_by)
    return {
        "label": _label(rule.name),
        "colour": colour_of(rule.name),
        "lr": rule.lr,
        "hyper": dict(rule.defaults),
        "written": {name: _marked(str(symbol(name))) for name in rule.defaults},
        "memory": memory(rule),
        "critical": critical,
        "paper": rule.paper,
        "formulas": {
            c.name: [rows.setdefault(f"<b>{_marked(name)}</b> ← {text}", len(rows)) for name, text in _formula(rule, c)]
            for c in COUPLINGS.values()
        },
    }


def _formula(rule: Rule, coupling: Coupling) -> list[tuple[str, str]]:
    """One step for a reader, row by row: (field, its new value as HTML). grows is 1 where the step alone moves w away
    from 0 and 0 elsewhere; spelled out it would hold the whole step once more."""
    step = compose(rule, coupling, _spoken_words())
    inner, hyper = tuple(map(symbol, rule.inner)), tuple(map(symbol, rule.defaults))
    after = step(symbol("w"), symbol("g"), inner, symbol("lr"), symbol("multiplier"), symbol("strength"), hyper)
    rows = dict(zip(("w", *rule.inner), after, strict=True))  # without the clock, which is spelled out
    return [(str(symbol(name)), _written(rule, sp.sympify(rows[name]))) for name in shown(rule)]


@cache  # couplings that leave the gradient alone share the rows of the state
def _written(rule: Rule, row: sp.Expr) -> str:
    return _marked(spoken(of_tensors(at_step(rule, row))))


def _spoken_words() -> Words:
    plain = symbols()
    larger, grows = plain["maximum"], sp.Symbol("grows")
    return {**plain, "maximum": lambda a, b: grows if b == 0 else larger(a, b)}


def _name(name: str) -> str:
    """A name as people write it: beta1 as β with an index 1, v_max as v with an index max."""
    stem = name.partition("_")[0].rstrip("0123456789")
    index = name.removeprefix(stem).removeprefix("_")
    # Unicode's name of λ has no b.
    letter = {"lambda": "λ"}.get(stem) or _greek(stem)
    return f"{letter}<sub>{index}</sub>" if index else letter


def _greek(stem: str) -> str:
    try:
        return unicodedata.lookup(f"GREEK SMALL LETTER {stem.upper()}")
    except KeyError:
        return stem


_TOKEN = re.compile(r"\*\*(?:(\w+)|\(([^()]*)\))|([A-Za-z_]\w*)(\(?)|[-*&<>]")
_SIGNS = {"*": "\u2009", "-": "−", "&": "&amp;", "<": "&lt;", ">": "&gt;"}


def _marked(text: str) -> str:
    """sympy's text as HTML: Greek letters, indices, exponents above the line, names in italics, functions upright."""

    def shown(found: re.Match[str]) -> str:
        exponent, name, opened = found[1] or found[2], found[3], found[4]
        if exponent:
            return f"<sup>{_marked(exponent)}</sup>"
        if name:
            return f"{_FUNCTIONS.get(name, name)}{opened}" if opened else f"<i>{_name(name)}</i>"
        followed = text[found.end() : found.end() + 1]
        return "·" if found[0] == "*" and followed.isdigit() else _SIGNS[found[0]]

    return _TOKEN.sub(shown, text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

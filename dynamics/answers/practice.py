"""Whether a strength is one that published recipes use, and if not, by how much and why."""

from __future__ import annotations

import functools
import math

from dynamics.answers.setting import Setting, parse
from dynamics.libraries.catalogue import PUBLISHED

# A strength further than this from all published ones leaves usual practice.
FAR = 3.0


def unusual(source: Setting, found: Setting, rate: float) -> str:
    """Where the strength of `found` leaves that of published recipes by more than FAR times, how far and why; else empty.

    Args:
        source: the setting whose pull was to be matched.
        found: the setting with the strength found; a rule and coupling without a recipe are not judged.
        rate: the pull of both, as a share of the weight a step.

    Example:
        >>> unusual(parse("adam lr=1e-3 l2=1e-4"), parse("adamw lr=1e-3 weight_decay=0.2"), 2e-4)
        ''
    """
    known = [one.strength for one in _published() if (one.rule, one.coupling) == (found.rule, found.coupling)]
    if not known or min(known) / FAR <= found.strength <= max(known) * FAR:
        return ""
    above = found.strength > max(known)
    far = found.strength / max(known) if above else min(known) / found.strength
    usual = f"{min(known):g}" if min(known) == max(known) else f"{min(known):g} to {max(known):g}"
    seen = [s.rule.name for s in (source, found) if s.coupling.in_gradient and s.rule.divides_by]
    why = f"{seen[0]} divides its pull by the size of the gradients; " if seen else ""
    why += f"both take {rate:.3g} of a weight a step, so that it halves in {math.log(2) / rate:,.0f} steps"
    apart = f"{far:.3g} times the largest" if above else f"1/{far:.3g} of the smallest"
    return (
        f"strength {found.strength:.3g} is {apart} that published recipes use with {found.rule.name} and "
        f"{found.coupling.name} ({usual}): {why}"
    )


@functools.cache
def _published() -> tuple[Setting, ...]:
    return tuple(parse(text) for text in PUBLISHED)

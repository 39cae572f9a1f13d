"""The strength that gives one setting the pull of another, where there is one: the answer behind `undertow convert`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from dynamics.answers.horizon import Horizon, best_constant, drifted, why_drifting
from dynamics.answers.match import CLOSE, Range, closed_form, never, ranges, search, small
from dynamics.answers.practice import unusual
from dynamics.answers.pull_rate import (
    LANES,
    LARGEST,
    SMALLEST,
    Gradients,
    pull_rates,
    sees_gradients,
    settling,
)
from dynamics.answers.setting import Setting, as_setting, parse_target, unit_note
from dynamics.errors import InputError
from dynamics.estimate import Estimate, ratio_interval
from dynamics.given import kind, number, shown, whole
from dynamics.libraries.catalogue import elsewhere
from dynamics.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch.optim import Optimizer

    from dynamics.answers.by_layer import Layers

# The longest horizon: it is simulated, in half a minute.
LONGEST = 1_000_000


@dataclass(frozen=True)
class Conversion(Result):
    """The outcome. `target` holds the strength found; None with `why` where no constant strength gives the same pull.

    rate: share of the weight a step. formula: the strength by closed form, where both settings have one. ratio: measured
    pull of target over source, an estimate over seeds. holds: what may change by how much until they differ by 10%.
    gradients: under which the pulls are equal; None: under any. notes: which numbers are a library's defaults, what numbers
    about one weight leave out, and where the strength is far from that of published recipes.
    """

    source: str
    target: str | None
    strength: float | None
    rate: float | None
    formula: float | None
    ratio: Estimate | None
    holds: dict[str, Range]
    why: str
    horizon: Horizon | None
    library: str
    notes: tuple[str, ...]
    gradients: Gradients | None = None

    def __str__(self) -> str:
        from dynamics.answers.printed import conversion

        return conversion(self)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    def rows(self) -> list[dict[str, Any]]:
        """One row, so that those of several conversions stand below each other."""
        from dynamics.answers.drawing import row_of_conversion

        return [row_of_conversion(self)]

    @property
    def finding(self) -> str:
        """The strength, or why there is none."""
        if self.target is None:
            return f"{self.source}: no constant strength gives the same pull: {self.why}"
        return f"{self.target} pulls like {self.source}, within a tenth as far as the lines reach"

    def _draw(self, axes: Axes) -> None:
        from dynamics.answers.drawing import draw_conversion

        draw_conversion(self, axes)


@overload
def convert(
    source: Setting | str,
    target: Setting | str,
    gradients: Gradients | None = None,
    *,
    weight: float | None = None,
    steps: int = 10_000,
) -> Conversion: ...


@overload
def convert(
    source: Setting | str, target: Setting | str, gradients: Mapping[str, Gradients | None], *, steps: int = 10_000
) -> Layers: ...


@overload
def convert(
    source: Optimizer,
    target: Setting | str,
    gradients: Mapping[str, Gradients | None] | None = None,
    *,
    net: Any = None,
    steps: int = 10_000,
) -> Layers: ...


def convert(
    source: Any,
    target: Setting | str,
    gradients: Gradients | Mapping[str, Gradients | None] | None = None,
    *,
    net: Any = None,
    weight: float | None = None,
    steps: int = 10_000,
) -> Conversion | Layers:
    """The strength of one setting at which its pull is that of another under given gradients, where there is one.

    Args:
        source: the setting whose pull is wanted, or its text; or a live torch optimizer, each of whose tensors is then asked for
            under the gradients that its own mean square tells of, or, where it keeps none, those given.
        target: the setting whose strength is asked for, or its text; its own strength is ignored.
        gradients: their root mean square when they arrive, and the share of steps at which they do; None where neither pull
            depends on them, as from SGD to SGD with momentum. Or those of each tensor by its name, as
            `undertow.gradient_scale` measures them, None for one that gets none.
        net: of a live optimizer the network that it trains, which names the tensors.
        weight: the size of the weight at which the pulls are compared; None: small, so that the pull is a small part of
            the gradients and a share of the weight.
        steps: the horizon, in steps, for the best constant where pulls change with time; 100 to a million.

    Returns:
        The Conversion: the target with its strength, or why no constant strength gives the same pull. Of several tensors
        Layers, a list of one Layer a tensor with its strength, that shows itself as a table.

    Raises:
        InputError: for settings without a regularizer, for values out of range, and for no gradients where a pull depends
            on them.

    Example:
        >>> from dynamics.answers.pull_rate import Gradients
        >>> found = convert("adam lr=1e-3 l2=1e-4", "adamw lr=1e-3", Gradients(rms=1e-3))
        >>> round(found.strength, 3)
        0.1
        >>> sizes = {"0.weight": Gradients(rms=1e-3), "2.weight": Gradients(rms=1e-2)}
        >>> [round(layer.strength, 3) for layer in convert("adam lr=1e-3 l2=1e-4", "adamw lr=1e-3", sizes)]
        [0.1, 0.01]

    Source:
        Derived for the closed forms (`dynamics.theory.closed`); measured on the rule itself elsewhere
        (`dynamics.answers.pull_rate`).
    """
    target = parse_target(target) if isinstance(target, str) else as_setting("target", target)
    if hasattr(source, "param_groups") or isinstance(gradients, Mapping):
        if weight is not None:
            raise InputError(f"weight {shown(weight)} with several tensors: small weights alone are compared there")
        from dynamics.answers.by_layer import by_layer

        return by_layer(source, target, gradients, net, steps)
    if net is not None:
        raise InputError(
            f"net {type(net).__name__} without an optimizer as the source: it names an optimizer's tensors"
        )
    source = as_setting("source", source)
    if gradients is not None:
        kind("gradients", gradients, Gradients, "Gradients(rms, arrival)")
    steps = whole("steps", steps, 100, LONGEST)
    weight = None if weight is None else number("weight", weight, SMALLEST, LARGEST)
    if not source.coupling.doors or source.strength == 0:
        raise InputError(f"setting {str(source)!r} has no regularizer: one with a strength above 0 is accepted")
    if not target.coupling.doors:
        raise InputError(f"setting {str(target)!r} names no coupling: one such as decoupled_lr is accepted")
    for setting in (source, target):
        if setting.lr == 0:
            raise InputError(f"lr 0 in {str(setting)!r}: a positive learning rate is accepted")
    found = _converted(source, target, gradients or _any(source, target), weight, steps)
    return replace(found, gradients=gradients)


def _converted(source: Setting, target: Setting, gradients: Gradients, weight: float | None, steps: int) -> Conversion:
    size = weight or min(small(source, source.strength, gradients), 1.0)
    for setting in (source, target):
        reason = never(setting, gradients)
        if reason:
            return _none(source, None, reason)
    # Both are measured at one age, so that a pull that falls with time falls for both.
    age = max(settling(source), settling(target))
    rates = pull_rates(source, gradients.rms, gradients.arrival, size, after=age)[0, 0]
    rate = float(rates.mean())
    if not rate > 0:
        return _none(source, None, f"the pull of {source} on a weight of size {size:g} is no share of the weight")
    formula = closed_form(source, target, gradients)
    guess = formula
    if guess is None and (source.rule, source.coupling) == (target.rule, target.coupling):
        guess = source.strength * source.lr / target.lr
    found, tried = search(target, rate, guess, gradients, size, weight is not None, age)
    if found is None:
        return _none(
            source,
            rate,
            f"no strength of {target.rule.name} with {target.coupling.label} was found to pull like that: {tried}",
        )
    size = size if weight is not None else min(size, small(found, found.strength, gradients))
    rates, others = (pull_rates(s, gradients.rms, gradients.arrival, size, after=age)[0, 0] for s in (source, found))
    if not (np.all(rates > 0) and np.all(others > 0)):
        return _none(source, rate, "the two pulls do not stand out from the gradients' noise")
    drift = drifted(source, found, gradients, size, age)
    # What the seeds alone could have done is no drift.
    if drift and abs(drift.value - 1) >= CLOSE and not drift.low <= 1 <= drift.high:
        return replace(
            _none(source, rate, why_drifting(source, found, drift.value, age)),
            horizon=best_constant(source, found, gradients, size, steps),
        )
    return Conversion(
        source=str(source),
        target=str(found),
        strength=found.strength,
        rate=rate,
        formula=formula,
        ratio=ratio_interval(others / rates, f"times the pull; {LANES} weights a seed", "seeds"),
        holds=ranges(source, found, gradients, size, age),
        why="",
        horizon=None,
        library=elsewhere(found.rule).offered.get(found.coupling.name, ""),
        notes=tuple(note for note in (*_notes(source, found), unusual(source, found, rate)) if note),
    )


def _any(source: Setting, target: Setting) -> Gradients:
    """Gradients for two pulls that do not depend on them; InputError where one does."""
    seeing = [setting for setting in (source, target) if sees_gradients(setting)]
    if seeing:
        raise InputError(
            f"gradient rms is needed: the pull of {seeing[0].rule.name} with {seeing[0].coupling.name} depends on it; accepted is "
            "the root mean square of p.grad over a layer's weights and a few batches, as undertow.gradient_scale measures it"
        )
    return Gradients(1.0)


def _notes(*settings: Setting) -> tuple[str, ...]:
    said = (note for setting in settings for note in (*setting.notes, unit_note(setting)))
    return tuple(dict.fromkeys(note for note in said if note))


def _none(source: Setting, rate: float | None, why: str) -> Conversion:
    return Conversion(str(source), None, None, rate, None, None, {}, why, None, "", _notes(source))

"""Conversions tensor by tensor, under the gradients that each really gets: `convert` of a live optimizer, or of measured sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamics.answers.convert import Conversion, convert
from dynamics.answers.live import clock_of, setting_of
from dynamics.answers.match import CLOSE, closed_form
from dynamics.answers.parameters import named
from dynamics.answers.pull_rate import Gradients, sees_gradients
from dynamics.answers.setting import Setting, as_setting
from dynamics.errors import InputError
from dynamics.given import kind
from dynamics.libraries.catalogue import FIELDS
from dynamics.lines import table
from dynamics.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Layer:
    """One tensor: its name, the setting that acts on it, its gradients, the strength that pulls alike; None with `why`."""

    parameter: str
    source: str
    gradients: Gradients | None
    strength: float | None
    why: str = ""


class Layers(list[Layer], Result):
    """The strength of `target` for each tensor, a row each. target: the setting whose strength is asked for."""

    def __init__(self, found: Iterator[Layer], target: str) -> None:
        super().__init__(found)
        self.target = target

    @property
    def strengths(self) -> list[float]:
        """Those that were found, from the smallest."""
        return sorted(layer.strength for layer in self if layer.strength is not None)

    @property
    def typical(self) -> float:
        """The median of the strengths; NaN of none."""
        found = self.strengths
        return math.nan if not found else math.sqrt(found[(len(found) - 1) // 2] * found[len(found) // 2])

    def rows(self) -> list[dict[str, Any]]:
        """One row a tensor; strength None where there is none, and why."""
        return [
            {
                "parameter": layer.parameter,
                "source": layer.source,
                "gradient_rms": None if layer.gradients is None else layer.gradients.rms,
                "arrival": None if layer.gradients is None else layer.gradients.arrival,
                "strength": layer.strength,
                "why": layer.why,
            }
            for layer in self
        ]

    @property
    def finding(self) -> str:
        """Whether one strength does for all."""
        found, middle = self.strengths, self.typical
        if not found:
            return f"no strength of {self.target} pulls alike in any tensor"
        near = sum(abs(strength / middle - 1) <= CLOSE for strength in found)
        spread = f"from {found[0]:.3g} to {found[-1]:.3g}" if found[-1] > found[0] else f"{found[0]:.3g}"
        return f"{self.target}: strengths {spread}; {middle:.3g} is within a tenth in {near} of {len(self)} tensors"

    def __str__(self) -> str:
        cells = [["parameter", "gradient rms", "arrival", "strength"]]
        for layer in self:
            known = layer.gradients
            sizes = ["any", "any"] if known is None else [f"{known.rms:.3g}", f"{known.arrival:.3g}"]
            cells.append([layer.parameter, *sizes, layer.why if layer.strength is None else f"{layer.strength:.4g}"])
        return "\n".join([self.finding, *(f"  {line}" for line in table(cells, {1, 2, 3}))])

    def _draw(self, axes: Axes) -> None:
        from dynamics.answers.drawing import draw_layers

        draw_layers(self, axes)


def by_layer(source: Any, target: Setting, gradients: Any, net: Any, steps: int) -> Layers:
    """The conversion of each tensor: `dynamics.answers.convert.convert` says of what."""
    given: Mapping[str, Gradients | None]
    given = (
        {}
        if gradients is None
        else kind("gradients", gradients, Mapping, "a dictionary from tensors' names to Gradients")
    )
    if hasattr(source, "param_groups"):
        tensors = list(held(source, net))
    else:
        setting = as_setting("source", source)
        tensors = [(name, setting, None) for name in given]
    if not tensors:
        raise InputError("source regularizes no tensor: one with a strength above 0 is accepted")
    return Layers(_layers(tensors, target, given, steps), f"{target.rule.name} with {target.coupling.label}")


def _layers(
    tensors: Iterable[tuple[str, Setting, Gradients | None]],
    target: Setting,
    given: Mapping[str, Gradients | None],
    steps: int,
) -> Iterator[Layer]:
    """Where there is a closed form one tensor of a setting is converted, with its simulation, and the others follow from it."""
    made: dict[tuple[str, str], Conversion] = {}
    for name, setting, own in tensors:
        known = given.get(name, own)
        if known is None and name in given:
            yield Layer(name, str(setting), None, None, "it gets no gradient")
            continue
        if known is None:
            _need_gradients(name, setting, target)
        exact = None if known is None else closed_form(setting, target, known)
        like = str(setting), "" if known is None or exact else f"{known.rms:.2g} {known.arrival:.2g}"
        if like not in made:
            made[like] = convert(setting, target, known, steps=steps)
        found = made[like]
        strength = found.strength
        if strength is not None and exact and found.formula:
            strength *= exact / found.formula
        yield Layer(name, str(setting), known, strength, found.why)


def held(optimizer: Any, net: Any = None) -> Iterator[tuple[str, Setting, Gradients | None]]:
    """Each tensor that a live optimizer regularizes: name, setting, and the gradients that its mean square tells of.

    None stands for gradients of which it keeps no mean square, as SGD; a tensor before its first step is one of these.
    """
    names = named(optimizer, net)
    for index, group in enumerate(optimizer.param_groups):
        setting, _ = setting_of(optimizer, group)
        if not setting.strength:
            continue
        for k, p in enumerate(group["params"]):
            name = names.get(id(p), f"group {index}, tensor {k}")
            yield name, setting, _gradients(setting, optimizer.state.get(p, {}))


def _gradients(setting: Setting, state: Mapping[str, Any]) -> Gradients | None:
    """From the mean square of a tensor's gradients: those that come at every step."""
    if setting.rule.divides_by != "mean" or "v" not in setting.rule.state:
        return None
    v = next((state[key] for key in ("v", *FIELDS["v"]) if key in state), None)
    clock = None if v is None else clock_of(setting, [state])
    if v is None or clock is None:
        return None
    mean = float(v.detach().double().mean()) / (1 - clock.get("power2", 0.0))
    return Gradients(math.sqrt(mean)) if mean > 0 and math.isfinite(mean) else None


def _need_gradients(name: str, source: Setting, target: Setting) -> None:
    """InputError where a pull depends on gradients that nothing tells."""
    seeing = next((setting for setting in (source, target) if sees_gradients(setting)), None)
    if seeing is not None:
        raise InputError(
            f"gradient rms of {name} is needed: the pull of {seeing.rule.name} with {seeing.coupling.name} depends on it, and "
            "the optimizer keeps none; accepted is what undertow.gradient_scale(net, loss, loader) returns"
        )

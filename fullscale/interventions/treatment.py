"""What may be done to a filter's updates, in words and numbers: nothing here imports torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from dynamics.door import check_fields
from dynamics.errors import InputError
from dynamics.given import among, number
from dynamics.rule import check

# Of a blanked gradient's batches that are left: what of the gradient stays as it was.
Kept = Literal["square", "mean", "none"]


@dataclass(frozen=True)
class Treatment:
    """What is done to the updates of a filter: of its BatchNorm's scale and shift, and of the weights and the bias that feed it.

    Args:
        scale: the loss's gradients are multiplied by it, above 0.
        arrival: share of the steps at which they arrive, in (0, 1]; at the others they are exactly 0. One draw a filter and step.
        kept: what the batches that are left make up for by larger gradients: "square", the mean square stays as it was
            (1/sqrt(arrival)); "mean", the mean does (1/arrival); "none", neither.
        strength: the regularizer's strength is multiplied by it; 0 turns it off.
        beta2: takes the place of the rule's own; None: that stays.

    Raises:
        InputError: for values out of range.

    Example:
        >>> Treatment(arrival=0.25).words
        'arrival 0.25, square kept'
        >>> Treatment().words
        'none'
    """

    scale: float = 1.0
    arrival: float = 1.0
    kept: Kept = "square"
    strength: float = 1.0
    beta2: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        number("scale", self.scale, 0)
        if not self.scale > 0:
            raise InputError(f"scale {self.scale}: a number above 0 is accepted")
        if not 0 < self.arrival <= 1:
            raise InputError(f"arrival {self.arrival}: a share in (0, 1] is accepted")
        among("kept", self.kept, get_args(Kept))
        number("strength", self.strength, 0)
        if self.beta2 is not None and not check("beta2", self.beta2) > 0:
            raise InputError(f"beta2 {self.beta2}: a number in (0, 1) is accepted")

    @property
    def words(self) -> str:
        """What differs from no treatment."""
        said = [
            f"{f.name} {getattr(self, f.name):g}" for f in fields(self) if f.name != "kept" and self._differs(f.name)
        ]
        if self.arrival < 1:
            said.insert(1 + self._differs("scale"), f"{self.kept} kept" if self.kept != "none" else "not made up for")
        return ", ".join(said) or "none"

    def as_dict(self) -> dict[str, Any]:
        """What differs from no treatment, as plain data."""
        own = asdict(self)
        if self.arrival == 1:
            del own["kept"]
        return {name: value for name, value in own.items() if name == "kept" or self._differs(name)}

    @property
    def factor(self) -> float:
        """By which a gradient that arrives is multiplied."""
        made_up: float = {"square": self.arrival**-0.5, "mean": 1 / self.arrival, "none": 1.0}[self.kept]
        return self.scale * made_up

    def _differs(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).__dataclass_fields__[name].default)

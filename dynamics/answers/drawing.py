"""What explanations, conversions and a live optimizer's groups show: their rows, and pictures of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from dynamics.answers.by_layer import Layers
    from dynamics.answers.convert import Conversion
    from dynamics.answers.explain import Explanation
    from dynamics.answers.live import Group

# What is spoken of, and what stands beside it.
OWN, OTHER = "#D55E00", "#999999"
# Shares below this have no bar.
NOTHING = 1e-30
_QUANTITIES = {
    "weight": "size of the weight",
    "gradient_rms": "rms of gradients",
    "arrival": "share of steps\nwith a gradient",
}


def row_of_explanation(e: Explanation) -> dict[str, Any]:
    """Its numbers; those at other couplings and at several arrivals in a column each."""
    own = e.steps_from_1_to_1e_3.get(e.coupling)
    row = {
        **{name: getattr(e, name) for name in ("setting", "optimizer", "coupling", "lr", "strength")},
        **e.hyperparameters,
        "one_step_from_1": e.one_step_from_1,
        "half_life": e.silent.half_life.steps,
        "steps_from_1_to_1e_3": None if own is None else own.steps,
        "law": e.silent.text,
        "pull": e.pull,
        **{f"rate_at_{r.arrival:g}": r.rate for r in e.regimes},
        "equilibrium": None if e.equilibrium is None else e.equilibrium.value,
        "stable_below": None if e.stability is None else e.stability.without_gradient,
        **{f"steps_by_{name}": time.steps for name, time in e.steps_from_1_to_1e_3.items()},
    }
    if e.run is not None:
        row |= {"left": e.run.left.size}
        row |= {f"left_by_{name}": left.size for name, left in e.run.couplings.items()}
    return row | {"warnings": "; ".join(e.warnings)}


def explained(e: Explanation) -> str:
    """How long a weight without a gradient lasts, or what a run leaves of it."""
    rule = RULES[e.optimizer].label if e.optimizer in RULES else e.optimizer
    said = (
        f"{rule} with {COUPLINGS[e.coupling].label if e.coupling in COUPLINGS else e.coupling}, strength {e.strength:g}"
    )
    if e.run is not None:
        left = e.run.left
        share = left.how if left.size is None else f"leaves {left.size:.3g} of a weight without a gradient"
        return f"{said}: {e.run.schedule} {share}"
    time = e.steps_from_1_to_1e_3.get(e.coupling)
    if time is None or time.steps is None:
        return f"{said}: a weight without a gradient does not fall to a thousandth"
    return f"{said}: a weight without a gradient falls to a thousandth in {time.steps:,} steps"


def draw_explanation(e: Explanation, axes: Axes) -> None:
    """By each coupling of the same strength: what the run leaves, or the steps to a thousandth."""
    if e.run is not None:
        told = {name: (left.size, left.how) for name, left in e.run.couplings.items()}
        axes.set_xlabel("share that the run leaves of a weight without a gradient")
    else:
        told = {name: (time.steps, time.how) for name, time in e.steps_from_1_to_1e_3.items()}
        axes.set_xlabel("steps from 1 to 1e-3, without a gradient")
    labels = [COUPLINGS[name].label for name in told]
    _bars(axes, labels, list(told.values()), [OWN if name == e.coupling else OTHER for name in told])


def row_of_conversion(c: Conversion) -> dict[str, Any]:
    """Its numbers."""
    ratio = c.ratio
    row = {name: getattr(c, name) for name in ("source", "target", "strength", "rate", "formula")}
    row |= {
        name: None if ratio is None else getattr(ratio, at) for name, at in (("ratio", "value"), ("ratio_low", "low"))
    }
    row |= {"ratio_high": None if ratio is None else ratio.high, "seeds": None if ratio is None else ratio.n}
    for name in _QUANTITIES:
        reach = c.holds.get(name)
        row |= {
            f"{name}_from": None if reach is None else reach.low,
            f"{name}_to": None if reach is None else reach.high,
        }
    if c.horizon is not None:
        row |= {"best_constant": c.horizon.strength, "early": c.horizon.early, "late": c.horizon.late}
    return row | {"why": c.why, "library": c.library}


def draw_conversion(c: Conversion, axes: Axes) -> None:
    """As far as the two pulls are within a tenth; or how the pull moves away from the best constant."""
    if c.horizon is not None:
        h = c.horizon
        places = ["first eighth", "last eighth"]
        axes.plot(places, [h.early, h.late], "o-", color=OWN)
        axes.axhline(1.0, color=OTHER, linestyle="--", label=f"the best constant, {h.strength:.3g}")
        axes.set(
            xlabel=f"of the steps {h.first:,} to {h.steps:,}", ylabel="pull to be matched / its pull", ylim=(0, None)
        )
        axes.legend()
        return
    if not c.holds:
        raise InputError(f"nothing to draw of {c.source}: a conversion that found a strength is accepted")
    known = [end for reach in c.holds.values() for end in (reach.low, reach.high) if end]
    low, high = min(known, default=0.1) / 30, max(known, default=1.0) * 30
    for place, (name, reach) in enumerate(c.holds.items()):
        ends = (reach.low or low, reach.high or (1.0 if name == "arrival" else high))
        axes.plot(ends, (place, place), color=OWN, linewidth=3)
        marks = ("|" if reach.low else "<", "|" if reach.high or name == "arrival" else ">")
        for end, mark in zip(ends, marks, strict=True):
            axes.plot([end], [place], mark, color=OWN, markersize=10)
    axes.set(xscale="log", xlabel="where they are less than a tenth apart (arrow: no end found)", ylim=(2.6, -0.6))
    axes.set_yticks(range(len(c.holds)), [_QUANTITIES[name] for name in c.holds])


def row_of_group(group: Group) -> dict[str, Any]:
    """Its numbers."""
    now, run = group.now, group.run
    return {
        **{name: getattr(group, name) for name in ("index", "tensors", "weights", "setting", "decays")},
        "kinds": ", ".join(kind.kind for kind in group.kinds),
        "half_life": group.law.half_life.steps,
        "law": group.law.text,
        "now_weight": None if now is None else now.weight,
        "now_gradient": None if now is None else now.gradient,
        "now_half_life": None if now is None else now.half_life.steps,
        **({} if run is None else {"left": run.left.size}),
        "warnings": "; ".join(group.warnings),
    }


def read_of(groups: Sequence[Group]) -> str:
    """How many of the groups decay."""
    on = [group for group in groups if group.decays]
    weights = sum(group.weights for group in groups)
    return (
        f"a regularizer pulls at {sum(group.weights for group in on):,} of {weights:,} weights, "
        f"in {len(on)} of {len(groups)} groups"
    )


def draw_groups(groups: Sequence[Group], axes: Axes) -> None:
    """The half-life of a silent weight of each group: from a fresh state, and from that of now where there is one."""
    labels = [f"group {group.index}: {group.weights:,} weights\n{group.setting}" for group in groups]
    told = [(group.law.half_life.steps, group.law.half_life.how) for group in groups]
    now = [(place, g.now.half_life.steps) for place, g in enumerate(groups) if g.now and g.now.half_life.steps]
    _bars(axes, labels, told, [OWN if group.decays else OTHER for group in groups], [steps for _, steps in now])
    if now:
        axes.plot(
            [steps for _, steps in now], [place for place, _ in now], "D", color="black", label="from its state now"
        )
        axes.legend(loc="lower right")
    axes.set_xlabel("half-life of a weight without a gradient, in steps")


def draw_layers(layers: Layers, axes: Axes) -> None:
    """The strength of each tensor against the size of its gradients, and the one in the middle."""
    points = [(x.gradients.rms, x.strength) for x in layers if x.gradients is not None and x.strength is not None]
    if not points:
        raise InputError("none of the strengths depends on gradients: nothing to draw")
    axes.loglog(*zip(*points, strict=True), "o", color=OWN)
    axes.axhline(layers.typical, linestyle="--", color=OTHER)
    axes.text(points[0][0], layers.typical, f"the median, {layers.typical:.3g}", color=OTHER, va="bottom")
    axes.set_xlabel("root mean square of a tensor's gradients")
    axes.set_ylabel(f"strength of {layers.target}")


def _bars(
    axes: Axes,
    labels: Sequence[str],
    told: Sequence[tuple[float | None, str]],
    colours: Sequence[str],
    beside: Sequence[float] = (),
) -> None:
    """A bar for each number on a logarithmic axis, which has room for those beside it, and the reason where there is none."""
    places = range(len(labels))
    known = [value for value in (*(value for value, _ in told), *beside) if value and value > NOTHING]
    # A logarithmic axis has no 0 to start a bar at: half a decade below the least.
    start, most = min(known, default=1.0) / 3, max(known, default=10.0)
    for place, (value, how), colour in zip(places, told, colours, strict=True):
        end, said = start, how[:48]
        if value is not None:
            end = max(value, start)
            axes.barh(place, end - start, left=start, color=colour)
            said = "nearly 0" if end == start else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
        axes.text(end, place, f" {said}", va="center", fontsize=9)
    axes.set(xscale="log", xlim=(start, most * (most / start) ** 0.3), ylim=(len(labels) - 0.4, -0.6))
    axes.set_yticks(places, labels, parse_math=False)

"""What usually goes wrong with the weight decay of a param group, and what the groups look like side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dynamics.answers.course import Course
from dynamics.answers.decay_time import silent_share
from dynamics.answers.parameters import USUALLY_LEFT_OUT, Kind
from dynamics.answers.schedule import counted
from dynamics.answers.setting import Setting

if TYPE_CHECKING:
    from dynamics.answers.live import Group

# A run of less than this many memories is far from its equilibrium.
_FAR = 1.0


def pulls(setting: Setting) -> bool:
    """Whether its regularizer does anything."""
    return bool(setting.coupling.doors) and setting.strength > 0 and setting.lr > 0


def warnings_of(
    optimizer: Any, index: int, settings: Sequence[Setting], kinds: Sequence[Kind], run: Course | None
) -> list[str]:
    """What is probably not meant in the group of that index."""
    setting, group = settings[index], optimizer.param_groups[index]
    found = []
    if pulls(setting):
        also = [f"{counted(k.tensors, 'tensor')} of {k.kind}" for k in kinds if k.kind in USUALLY_LEFT_OUT]
        if also:
            found.append(f"{' and '.join(also)} decay too; recipes usually leave them out")
        found += _rounding(setting, group["params"])
    elif index == 0 and type(optimizer).__name__ == "AdamW" and not any(s.strength for s in settings):
        found.append("AdamW with weight_decay 0 in every group is Adam: nothing decays")
    if pulls(setting) and run is not None:
        if run.left.half_by is not None and run.left.half_by * 10 <= run.steps:
            found.append(f"half of the decay is over by step {run.left.half_by:,}, in the first tenth of the run")
        if run.memories is not None and run.memories < _FAR:
            found.append(
                f"far from equilibrium: the run is {run.memories:.3g} of a memory long, and {run.left.size:.3g} of the "
                "start is left"
            )
    same = [k for k in range(index) if _values(optimizer.param_groups[k]) == _values(group)]
    if same:
        found.append(f"group {same[0]} is the same but for its parameters: one would do")
    return found


def _rounding(setting: Setting, params: Sequence[Any]) -> list[str]:
    """Of parameters so coarse that a weight less the share taken off it rounds to itself: none is moved below eps / 4."""
    share = silent_share(setting)
    if share is None or not params:
        return []
    import torch

    lost, found = float(share(setting.lr, 1.0)), []
    for dtype in dict.fromkeys(p.dtype for p in params):
        if dtype.is_floating_point and lost < torch.finfo(dtype).eps / 4:
            found.append(
                f"a share of {lost:.3g} a step is below the rounding of {str(dtype).removeprefix('torch.')}: "
                "a weight without a gradient does not decay at all"
            )
    return found


def _values(group: Any) -> str:
    """All that a group says, its parameters and their names aside."""
    return repr(sorted((name, value) for name, value in group.items() if name not in ("params", "param_names")))


def table(groups: Sequence[Group], width: int) -> str:
    """The groups of an optimizer, a line for each kind of parameter in each, no line wider than `width` characters.

    Args:
        groups: as `undertow.read` gives them.
        width: characters, at least 60.

    Returns:
        The table, then what each group is, then the warnings.

    Example:
        >>> import torch
        >>> from undertow import read
        >>> net = torch.nn.Linear(4, 2)
        >>> print(table(read(torch.optim.AdamW(net.parameters(), weight_decay=0.1), net=net), 80))
        group  decays  kind     tensors  weights  names
        0      yes     weights  1        8        weight
        0      yes     biases   1        2        bias
        <BLANKLINE>
        group 0: adam lr=0.001 decoupled_lr=0.1
        warning: group 0: 1 tensor of biases decay too; recipes usually leave them out
    """
    import textwrap

    rows = [("group", "decays", "kind", "tensors", "weights", "names")]
    for group in groups:
        for kind in group.kinds:
            decays = "yes" if group.decays else "no"
            rows.append(
                (str(group.index), decays, kind.kind, str(kind.tensors), f"{kind.weights:,}", ", ".join(kind.names))
            )
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    lines = []
    for row in rows:
        line = "  ".join([*(f"{text:{size}}" for text, size in zip(row, widths, strict=False)), row[5]]).rstrip()
        lines.append(line if len(line) <= width else line[: width - 3] + "...")
    said = [f"group {group.index}: {group.setting}" for group in groups]
    said += [f"warning: group {group.index}: {text}" for group in groups for text in group.warnings]
    return "\n".join([*lines, "", *(textwrap.fill(text, width, subsequent_indent="  ") for text in said)])

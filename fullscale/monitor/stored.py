"""A monitor's state: what it must look like, and its file: tensors and JSON in safetensors, which runs no code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from dynamics.errors import InputError
from dynamics.given import flag, shown, text, whole
from evidence.files import write_whole
from fullscale.checkpoint import check_seal, seal
from fullscale.checkpoint import read as read_safetensors
from fullscale.monitor.causes import CAUSES, RECENT
from fullscale.monitor.exact import VARIABLES as EXACT
from fullscale.monitor.gathered import Gathered
from fullscale.monitor.memory import BEFORE
from fullscale.monitor.record import FIRST, GATHERED, MOST, VARIABLES
from fullscale.monitor.watched import Watched

HEADER = "undertow monitor"
# A tensor's place in the JSON.
TENSOR = "tensor"
# The largest number that a state may count to: what is added to it still has room in 64 bits.
COUNT = 2**62
_NEEDED = {"margin", "gamma", "beta", "pull_gamma", "pull_beta"}
_DEATH = {"step": 0, "certain": 0, "filter": 0, "intervals": 0}


def checked(state: Any) -> dict[str, Any]:
    """The state that a monitor gave. InputError for anything else, which names the first part that does not fit."""
    lacking = (
        ({"layers", "interval", "step", "notes", "held"} - state.keys()) if isinstance(state, dict) else {"layers"}
    )
    if lacking:
        raise InputError(
            f"no state of a monitor ({shown(state)}, without {', '.join(sorted(lacking))}): what its state_dict gave is accepted"
        )
    try:
        _parts(state)
    except InputError as error:
        raise InputError(f"state of a monitor, {error}") from error
    whole_state: dict[str, Any] = state
    return whole_state


def _parts(state: Mapping[str, Any]) -> None:
    layers = _listed("layers", state["layers"], text)
    for name in ("notes", "said"):  # said: as states had it once
        _listed(name, state.get(name, []), text)
    whole("interval", state["interval"], 1, COUNT)
    last = whole("step", state["step"], 0, COUNT)
    _held(state["held"])

    # A state of the first version has the first variables, and nothing that is gathered or measured.
    given = state.get("record")
    rows = given.get("rows") if isinstance(given, dict) else None
    first = isinstance(rows, dict) and rows.keys() == FIRST.keys()
    of_record = {"every", "seen", "steps", "rows"} | (set() if first else {"over", "waiting", "waiting_over"})
    record = _mapping("record", given, of_record)
    steps = _rising("record.steps", record["steps"], last)
    whole("record.every", record["every"], 1, COUNT)
    whole("record.seen", record["seen"], 0, COUNT)
    names = FIRST if first else VARIABLES
    of = _mapping("record.rows", record["rows"], set(names))
    for name in names:
        _array(f"record.rows.{name}", of[name], torch.float32, (len(steps), len(layers)))
    if not first:
        _counts("record.over", record["over"], len(steps), COUNT, 0)
        whole("record.waiting_over", record["waiting_over"], 0, COUNT)
        for name, x in _mapping("record.waiting", record["waiting"], set(GATHERED)).items():
            _array(f"record.waiting.{name}", x, torch.float32, (len(layers),))
        measured = _mapping("measured", state.get("measured"), {"steps", "rows"})
        at = _rising("measured.steps", measured["steps"], last)
        for name, x in _mapping("measured.rows", measured["rows"], set(EXACT)).items():
            _array(f"measured.rows.{name}", x, torch.float32, (len(at), len(layers)))
        _gathered(state.get("gathered"))
    for name in ("activation", "scale"):
        _deaths(name, state.get(name), len(layers))

    whole("before_step", state.get("before_step"), 0, COUNT)
    whole("images", state.get("images", 0), 0, COUNT)  # later than the others
    _array("sums", state.get("sums"), torch.float64, (2, len(layers)))
    if not isinstance(state.get("share"), float):
        raise InputError(f"share {shown(state.get('share'))}: a number is accepted")
    before = state.get("before", 0)
    if before is not None:
        needed = _NEEDED | ({"pull_fed"} if isinstance(before, dict) and "fed" in before else set())
        for name, x in _mapping("before", before, needed, BEFORE).items():
            _array(f"before.{name}", x, torch.float64, (len(layers),))

    sizes = [len(list(of)) for _, of in groupby(layers)]
    peaks, fed = state.get("peaks"), state.get("fed", [None] * len(sizes))
    for name, several in (("peaks", peaks), ("fed", fed)):
        if not isinstance(several, list | tuple) or len(several) != len(sizes):
            raise InputError(f"{name}: a list with one entry a unit ({len(sizes)}) is accepted")
    for i, size in enumerate(sizes):
        if peaks[i] is not None:  # type: ignore[index]
            _array(f"peaks.{i}", peaks[i], None, (size,))  # type: ignore[index]
        if fed[i] is None:
            continue
        if not isinstance(fed[i], list | tuple) or len(fed[i]) != 2:
            raise InputError(f"fed.{i}: two tensors are accepted")
        for x in fed[i]:
            _array(f"fed.{i}", x, None, getattr(fed[i][0], "shape", ()))


def _rising(name: str, given: Any, last: int) -> Tensor:
    _array(name, given, torch.int64, getattr(given, "shape", ()))
    steps: Tensor = given
    if steps.ndim != 1 or len(steps) > MOST:
        raise InputError(f"{name} of shape {tuple(steps.shape)}: {MOST} numbers at most are accepted")
    if not ((steps[:1] >= 0).all() and (steps.diff() > 0).all() and (steps <= last).all()):
        raise InputError(f"{name}: rising numbers from 0 to {last} are accepted")
    return steps


def _gathered(given: Any) -> None:
    state = _mapping("gathered", given, {"steps", "came", "vectors", "arrived", "weights"})
    whole("gathered.steps", state["steps"], 0, COUNT)
    _listed("gathered.came", state["came"], flag)
    pairs = [
        (name, pair) for name in ("vectors", "weights") for pair in _listed(f"gathered.{name}", state[name], _pair)
    ]
    for name, pair in pairs:
        for x in pair:
            _array(f"gathered.{name}", x, None, getattr(x, "shape", ()))
    for x in _listed("gathered.arrived", state["arrived"], lambda _, x: x):
        _array("gathered.arrived", x, None, getattr(x, "shape", ()))


def _pair(name: str, given: Any) -> Any:
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise InputError(f"{name} two tensors are accepted")
    return given


def _deaths(name: str, given: Any, filters: int) -> None:
    state = _mapping(name, given, {"own", "recent", "rows"})
    rows = state["rows"]
    if not isinstance(rows, list):
        raise InputError(f"{name}.rows {shown(rows)}: a list is accepted")
    for row in rows:
        of = f"{name}.rows"
        _mapping(of, row, {*_DEATH, "measure", "cause", "pull", "loss", "input", "loss_error", "revived"})
        for key, low in _DEATH.items():
            whole(f"{of}: {key}", row[key], low, filters - 1 if key == "filter" else COUNT)
        if row["revived"] is not None:
            whole(f"{of}: revived", row["revived"], 0, COUNT)
        if row["measure"] != name or row["cause"] not in CAUSES:
            raise InputError(f"{of}: {shown(row)} is no death of this kind")
        for key in ("pull", "loss", "input", "loss_error"):
            if not isinstance(row[key], float):
                raise InputError(f"{of}: {key} {shown(row[key])}: a number is accepted")
    own = _mapping(f"{name}.own", state["own"], {"since", "images", "batches", "row", "pending"})
    for key in ("since", "images", "batches", "row"):
        high = len(rows) - 1 if key == "row" else COUNT
        _counts(f"{name}.own.{key}", own[key], filters, high)
    _array(f"{name}.own.pending", own["pending"], torch.float64, (6, filters))
    if not ((own["pending"][0] >= 0) & (own["pending"][0] < len(CAUSES))).all():
        raise InputError(f"{name}.own.pending: causes from 0 to {len(CAUSES) - 1} are accepted")
    recent = _mapping(f"{name}.recent", state["recent"], {"rows", "margin", "number", "count", "born"})
    _array(f"{name}.recent.rows", recent["rows"], torch.float64, (3, RECENT, filters))
    _array(f"{name}.recent.margin", recent["margin"], torch.float64, (RECENT, filters))
    _counts(f"{name}.recent.number", recent["number"], RECENT, COUNT)
    _counts(f"{name}.recent.born", recent["born"], filters, COUNT)
    whole(f"{name}.recent.count", recent["count"], -1, COUNT)


def _held(given: Any) -> None:
    if not isinstance(given, dict):
        raise InputError(f"held {shown(given)}: a dictionary is accepted")
    for i, fields in given.items():
        whole("held:", i, 0, COUNT)
        if not isinstance(fields, dict):
            raise InputError(f"held.{i} {shown(fields)}: a dictionary is accepted")
        for name, x in fields.items():
            _array(f"held.{i}.{text('held:', name)}", x, None, getattr(x, "shape", ()))


def _listed(name: str, given: Any, check: Callable[[str, Any], Any]) -> list[Any]:
    if not isinstance(given, list | tuple):
        raise InputError(f"{name} {shown(given)}: a list is accepted")
    return [check(f"{name}:", x) for x in given]


def _mapping(name: str, given: Any, needed: set[str], accepted: set[str] | None = None) -> dict[str, Any]:
    if not isinstance(given, dict) or not needed <= given.keys() <= (accepted or needed):
        raise InputError(f"{name} {shown(given)}: a dictionary of {', '.join(sorted(needed))} is accepted")
    return given


def _array(name: str, given: Any, dtype: torch.dtype | None, shape: Iterable[int]) -> None:
    """Of this type, or, without one, of any floating point."""
    if not isinstance(given, Tensor):
        raise InputError(f"{name} of type {type(given).__name__}: a tensor is accepted")
    fits = given.is_floating_point() if dtype is None else given.dtype == dtype
    if given.layout != torch.strided or given.is_meta or not fits:
        raise InputError(f"{name} of {given.dtype}: {dtype or 'floating point numbers'} is accepted")
    if tuple(given.shape) != tuple(shape):
        raise InputError(f"{name} of shape {tuple(given.shape)}: {tuple(shape)} is accepted")


def _counts(name: str, given: Any, length: int, high: int, low: int = -1) -> None:
    _array(name, given, torch.int64, (length,))
    if not ((given >= low) & (given <= high)).all():
        raise InputError(f"{name}: whole numbers from {low} to {high} are accepted")


def fitting(state: Mapping[str, Any], watched: Watched, tensors: Sequence[Tensor]) -> None:
    """InputError where a state that is whole is that of another network than the one that is watched. tensors: those that
    are followed."""
    if list(state["layers"]) != watched.layers:
        raise InputError(
            f"state of a monitor of {len(state['layers'])} filters: that of the same network is accepted, which has "
            f"{sum(watched.sizes)}"
        )
    for i, part in enumerate(watched.parts):
        fed = state.get("fed", [None] * len(watched.parts))[i]
        if fed is not None:
            _array(f"state of a monitor, fed.{i}", fed[0], None, () if part.weight is None else part.weight.shape)
    if "gathered" in state and not Gathered(watched).fits(state["gathered"]):
        raise InputError("state of a monitor, gathered: that of the same network is accepted")
    for i, fields in state["held"].items():
        whole("state of a monitor, held:", i, 0, len(tensors) - 1)
        for x in fields.values():
            _array(f"state of a monitor, held.{i}", x, None, tensors[i].shape)


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write what a monitor's state_dict gave, whole or not at all. InputError where it cannot be written."""
    tensors, header = packed(state)
    write_whole(path, safetensors.torch.save(tensors, metadata={HEADER: seal(header, tensors)}))


def packed(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], str]:
    """A state as tensors by their places, and as JSON that names these places."""
    tensors: dict[str, Tensor] = {}

    def plain(x: Any, place: str) -> Any:
        if isinstance(x, Tensor):
            tensors[place] = x.detach().cpu().contiguous().clone()
            return {TENSOR: place}
        if isinstance(x, dict):
            return {str(name): plain(value, f"{place}/{name}") for name, value in x.items()}
        if isinstance(x, list | tuple):
            return [plain(value, f"{place}/{i}") for i, value in enumerate(x)]
        return x

    header = json.dumps(plain(state, ""))
    return tensors, header


def read(path: Path) -> dict[str, Any]:
    """What `write` wrote, checked; nothing in it is run. InputError for a file that is missing, damaged or of another kind."""
    tensors, metadata = read_safetensors(path)
    try:
        check_seal(metadata[HEADER], tensors)
        return unpacked(tensors, metadata[HEADER])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: holds no monitor's state") from error


def unpacked(tensors: Mapping[str, Tensor], header: str) -> dict[str, Any]:
    """What `packed` packed, checked. InputError for anything else."""

    def whole_of(x: Any) -> Any:
        if isinstance(x, dict):
            return tensors[x[TENSOR]] if x.keys() == {TENSOR} else {name: whole_of(of) for name, of in x.items()}
        return [whole_of(of) for of in x] if isinstance(x, list) else x

    try:
        state = whole_of(json.loads(header))
        state.pop("sha256", None)
        state["held"] = {int(i): fields for i, fields in state["held"].items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("holds no monitor's state") from error
    return checked(state)

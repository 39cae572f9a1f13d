"""The monitor: hooks on a network and its optimizer, a look every few steps, and what has been seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dynamics.errors import InputError
from dynamics.given import flag, whole
from fullscale.graph import Unit, taken
from fullscale.graph.network import network
from fullscale.measure.source import Source
from fullscale.monitor.deaths import counted
from fullscale.monitor.exact import exact
from fullscale.monitor.finding import Finding
from fullscale.monitor.gathered import Gathered
from fullscale.monitor.line import Line, line
from fullscale.monitor.living import Living
from fullscale.monitor.look import Look
from fullscale.monitor.memory import Memory
from fullscale.monitor.observation import Observation, observe
from fullscale.monitor.state import bare, left_out
from fullscale.monitor.stored import checked, fitting
from fullscale.monitor.summary import history
from fullscale.monitor.updates import Updates
from fullscale.monitor.watched import Watched, of_units

if TYPE_CHECKING:
    import xarray as xr

    from fullscale.forecast.answer import Forecast

INTERVAL = 100
# The layers' weights, which are many, are split at every so many-th observation.
WEIGHTS_EVERY = 4


class Monitor(Living):
    """Which filters of a network in training live, which die, and whether it is the regularizer that kills them.

    Training is not altered, and no random number is drawn. What is watched is found in the first pass in training mode, by
    tracing the network with its inputs. Between observations there are no forward hooks, and the optimizer's hooks
    only sum up the gradients (`fullscale.monitor.gathered`) and take over what its buffers hold of the regularizer
    (`fullscale.monitor.carried`).

    Args:
        net: any network, whose BatchNorms are watched and the channels behind activations; wrapped by torch.compile or
            DistributedDataParallel too, but a network that has run compiled before is no longer seen.
        optimizer: one of torch.optim, timm or schedulefree that is one of the rules here, or
            `dynamics.optimizer.Optimizer`; of others everything but the regularizer's share is told.
        interval: steps from one observation to the next, the first at step 0; with gradients accumulated over several
            passes the last one is observed.
        example: what the network takes, as for `fullscale.graph.trace`, to find what is watched at once.
        units: what is behind each BatchNorm, where torch.export cannot follow the network.
        live: one line in the terminal that is kept up to date, if it is a terminal.

    Raises:
        InputError: for an interval that is no whole number from 1 on; for what is no network or no optimizer; for an example
            with which no filter can be found; for units that the network has not; and, without either, for a network that
            `.compile()` has compiled in place. Nothing is then hooked on either.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        >>> optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=1e-3)
        >>> monitor = Monitor(net, optimizer, interval=2)
        >>> for _ in range(5):
        ...     optimizer.zero_grad()
        ...     net(torch.ones(8, 1, 5, 5)).square().mean().backward()
        ...     _ = optimizer.step()
        >>> monitor.history.step.values.tolist()
        [0, 2, 4]
        >>> monitor.close()
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Any,
        *,
        interval: int = INTERVAL,
        example: Any = None,
        units: Sequence[Unit] | None = None,
        live: bool = False,
    ) -> None:
        self.interval = whole("interval", interval, 1)
        flag("live", live)
        self._net = network(net, numbers=False)
        optimizer = bare(optimizer)
        self.step = 0
        self._ready = self._left_out = False
        self._saved: dict[str, Any] | None = None
        self.watched = Watched() if units is None else of_units(self._net, units)
        given = None if example is None or units is not None else taken(example)
        if units is None and given is None and self._net._compiled_call_impl is not None:
            raise InputError(
                f"{type(self._net).__name__} is compiled in place, so that its inputs are not seen: pass example= or units="
            )
        self.updates = Updates(optimizer, [], [])
        self._gathered = Gathered(self.watched)
        self._look = Look(self.watched, self.updates.note)
        self._finding = Finding(net, self.watched, self._look.extend) if units is None else None
        self._seen: Observation | None = None
        self._memory = Memory(self.watched)
        if self._finding is None:
            self._look.extend(0)
        elif given is not None:
            self._finding.on(given)
            if not self.watched.parts:
                raise InputError(f"{'; '.join(self.watched.notes)}: pass units= to say what is behind each BatchNorm")
        if units is not None or given is not None:
            self._settle()
        self._line = Line() if live else None
        self._look.switch(True)
        self._handles = [
            optimizer.register_step_pre_hook(self._before_update),
            optimizer.register_step_post_hook(self._after_update),
        ]

    def _settle(self) -> None:
        """From now on the units stay those that were found."""
        self._ready = True
        parts, notes = self.watched.parts, self.updates.notes
        self.watched.name(self._net)
        if self._finding is not None:
            self._finding.close()
            for name in self.watched.unreached(self._net):
                self.watched.notes.append(
                    f"{name} is not watched: no pass in training mode before the first step reached it"
                )
        vectors = [x for part in parts for x in (part.scale, part.shift) if isinstance(x, nn.Parameter)]
        heavy = [(part.weight, part.axis) for part in parts if part.weight is not None]
        self.updates = Updates(self.updates.optimizer, vectors, [w for w, _ in heavy], [axis for _, axis in heavy])
        self._look.note = self.updates.note
        smooth = {unit.activation for unit in self.watched.units if not unit.rectified} - {"identity"}
        if smooth:
            self.watched.notes.append(
                f"{', '.join(sorted(smooth))}: puts out no exact zeros, or has a bound of its own, so no deaths by activation there"
            )
        for note in (*notes, *self.watched.notes):
            self.updates.note(note)
        self._memory, self._gathered = Memory(self.watched), Gathered(self.watched)
        if self._saved is not None:
            try:
                fitting(self._saved, self.watched, self.updates.tensors)
            except InputError:
                self.close()
                raise
            self._take(self._saved)
            self._saved = None

    @property
    def filters(self) -> int:
        """The number of filters that are watched; 0 before they are found."""
        return sum(self.watched.sizes)

    @property
    def note(self) -> list[str]:
        """What could not be had, and why: one line each, said once."""
        waiting = ["what was seen before the resume is shown from the first step on"] if self._saved is not None else []
        return list(dict.fromkeys([*self.updates.notes, *self.watched.notes, *waiting]))

    @property
    def deaths(self) -> list[dict[str, Any]]:
        """One row a death, in the order in which they became certain; see `fullscale.monitor.deaths` for what a death is.

        step: first observed step of the silence; certain: the step from which on it was a death; layer, channel: the
        filter, and filter its place among all; measure: "activation" or "scale"; cause: see `fullscale.monitor.causes`;
        pull, loss, input: displacement of the margin between the last time that the filter was clearly alive and the
        death, over so many intervals; loss_error: standard error of loss; revived: the step, or None.
        """
        rows = sorted(
            [*self._memory.by_activation.rows, *self._memory.by_scale.rows],
            key=lambda row: (row["certain"], row["filter"]),
        )
        layers, channels = self.watched.layers, self.watched.channels
        return [{**row, "layer": layers[row["filter"]], "channel": channels[row["filter"]]} for row in rows]

    @property
    def history(self) -> xr.Dataset:
        """All observations, see `fullscale.monitor.summary.history`."""
        activations = {unit.norm: unit.activation for unit in self.watched.units}
        return history(
            self._memory.record, self.watched.layers, self.watched.channels, activations, self.deaths, self._memory.measured,
            interval=self.interval, last=self.step, note="; ".join(self.note),
        )  # fmt: skip

    def measure(self, batches: Source) -> None:
        """Every filter over a whole set of images, such as the training set at an epoch's end.

        It goes into `history` as measured_selectivity, measured_peak and measured_margin, under the number of steps so far: exact,
        where an observation sees one batch in training mode. One pass in evaluation mode, after which the modules' own modes
        and the random numbers are as before. Each image's largest activation of each filter is kept until the end. An image is
        an entry of the first dimension of what a unit puts out.

        Args:
            batches: as `fullscale.measure.measure` takes images: a tensor (N, ...), or an iterable of batches, each alone or the
                first of a pair with labels.

        Raises:
            InputError: before the filters are found; for inputs that do not fit the network, for none, and for more than 4 GiB of
                activations.

        Example:
            >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
            >>> x = torch.ones(8, 1, 5, 5)
            >>> monitor = Monitor(net, torch.optim.SGD(net.parameters(), lr=0.1), example=x)
            >>> monitor.measure([x[:5], x[5:]])
            >>> dict(monitor.history.measured_peak.sizes)
            {'measured': 1, 'filter': 4}
        """
        if not self._ready:
            raise InputError("no filters are found yet: measure after the first step is accepted, or with example=")
        found = exact(self._net, self.watched, batches, self.updates.note)
        self._memory.measured.add(self.step, found)

    @property
    def images(self) -> int:
        """The images of the last batch that was observed, 0 before."""
        return self._memory.images

    def forecast(self, steps: int, *, batch: int | None = None, scheduler: Any = None, every: int = 1) -> Forecast:
        """Who is about to die, when, and of what: the theory's answer from what was seen up to now, without a fitted number.

        Args:
            steps: those to come.
            batch: images a step; None: as many as the last observed batch had.
            scheduler: of torch.optim.lr_scheduler, as `undertow.read` takes it, read ahead and not stepped; None: the learning
                rate stays what it is.
            every: steps of the optimizer in one of the scheduler.

        Returns:
            A `fullscale.forecast.Forecast`: probability, step and mechanism of every filter with a scale.

        Raises:
            InputError: before the second observation, for an optimizer that is none of the rules here, or that trains no scale,
                and as `undertow.read` does for schedulers.

        Example:
            >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
            >>> optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=1e-3)
            >>> monitor = Monitor(net, optimizer, interval=2)
            >>> for _ in range(5):
            ...     optimizer.zero_grad()
            ...     net(torch.rand(8, 1, 5, 5)).square().mean().backward()
            ...     _ = optimizer.step()
            >>> monitor.forecast(100).probability.shape
            (4,)

        Source:
            derived here: docs/forecast.md.
        """
        from fullscale.forecast.live import of_monitor  # which imports this module

        return of_monitor(self, steps, batch=batch, scheduler=scheduler, every=every)

    @property
    def text(self) -> str:
        """The state in one line, as `live` prints it."""
        died = [row for row in self._memory.by_activation.rows if row["certain"] > self.step - 2 * self.interval]
        alive = self.filters - int(self._memory.by_activation.dead.sum())
        return line(self.step, alive, self.filters, counted(died), 2 * self.interval, self._memory.share)

    def close(self) -> None:
        """Take all hooks off; what was seen stays."""
        self._look.close()
        if self._finding is not None:
            self._finding.close()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._line is not None:
            self._line.close()

    def _before_update(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._left_out = left_out(optimizer)
        if self._left_out:
            return None
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._meet()
            return None
        first = True

        def then() -> Any:  # the gradients are there only after it
            nonlocal first
            result = closure()
            if first:
                self._meet()
            first = False
            return result

        return (args[0], then, *args[2:]), {name: x for name, x in kwargs.items() if name != "closure"}

    def _meet(self) -> None:
        if not self._ready and self.watched.parts:
            self._settle()
        if not self._ready:
            self._miss()
            return
        with torch.no_grad():
            if not self._look.on:
                complete = self._gathered.add(self.updates.optimizer)
                self.updates.follow(self._heavy_in(), complete)
                return
            others = self.watched.renewed(self._net)
            for holder in (self.updates, self._gathered):
                holder.renew(others)
            self._gathered.add(self.updates.optimizer)
            heavy = self.step // self.interval % WEIGHTS_EVERY == 0
            self._seen = observe(self.watched, self._look, self.updates, self._gathered, self._memory.past, heavy)
            self._gathered.clear()

    def _heavy_in(self) -> int:
        """In how many steps the parts of the layers' weights are asked for next: at each observation where the margin is theirs."""
        often = 1 if any(part.feeding is not None for part in self.watched.parts) else WEIGHTS_EVERY
        return -self.step % (often * self.interval)

    def _miss(self) -> None:
        if self._finding is not None and self._finding.compiled:
            self.updates.note(
                "the network ran compiled, so that its inputs were not seen: give Monitor what torch.compile gave, or pass "
                "example= or units="
            )
        else:
            self.updates.note("no filters were found before the first step: no pass in training mode, or none with any")

    def _after_update(self, *_: Any) -> None:
        if self._left_out:
            return
        if self._seen is not None:
            self._memory.add(self.step, self._seen, self.updates.note)
            if self._line is not None:
                self._line.show(self.text)
            self._seen = None
            self._look.clear()
        self.step += 1
        if self._look.on != (self.step % self.interval == 0):
            self._look.switch(not self._look.on)

    def state_dict(self) -> dict[str, Any]:
        """Everything seen, as tensors and plain data: what `torch.load(weights_only=True)` accepts."""
        if self._saved is not None:
            return self._saved
        held = {i: self.updates.held[id(p)] for i, p in enumerate(self.updates.tensors) if id(p) in self.updates.held}
        return {
            "layers": self.watched.layers if self._ready else [],
            "interval": self.interval,
            "step": self.step,
            "notes": self.note,
            **self._memory.state(),
            "gathered": self._gathered.state(),
            "held": {i: {name: x.clone() for name, x in fields.items()} for i, fields in held.items()},
        }

    def start_at(self, step: int) -> None:
        """Count the steps from this one on, as those of a training that goes on. InputError for what was passed already."""
        seen = self._memory.record.steps
        self._go_to(whole("step", step, int(seen[-1]) + 1 if len(seen) else 0))

    def _go_to(self, step: int) -> None:
        self.step = step
        self._look.switch(bool(self._handles) and step % self.interval == 0)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave: the interval of then holds. Load the optimizer's own state as well.

        Before the filters are found, only interval and step are taken over at once, and the rest when they are. Raises
        InputError for what is no whole state, and for that of another network; nothing of it is then taken over. The first
        step does where that is not seen before, and the monitor is then closed.
        """
        checked(state)
        held = (*self._net.named_modules(remove_duplicate=False), *self._net.named_parameters(remove_duplicate=False))
        names = {name for name, _ in held}
        known = all(name.partition("#")[0] in names for name in state["layers"])
        if state["layers"] and (self._ready or not known):
            fitting(state, self.watched, self.updates.tensors)
        self.interval = int(state["interval"])
        self._go_to(int(state["step"]))
        self._memory, self._saved = Memory(self.watched), None
        self._gathered.clear()
        if not state["layers"]:  # of before any filter was found
            for note in state["notes"]:
                self.updates.note(note)
        elif self._ready:
            self._take(state)
        else:
            self._saved = state

    def _take(self, state: dict[str, Any]) -> None:
        self.updates.notes = []
        # said: as states had it once.
        for note in (*state["notes"], *state.get("said", ()), *self.watched.notes):
            self.updates.note(note)
        self._memory.take(state)
        if "gathered" in state:
            self._gathered.take(state["gathered"])
        self.updates.resume(state["held"])

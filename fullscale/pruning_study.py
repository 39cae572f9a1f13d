"""Published pruning criteria beside the dead filters, on networks trained here: how much each can remove, at what price.

Each network is trained, then cut by every criterion to every share, tested, fine-tuned for a fixed number of steps and tested
again; beside that, its dead filters are removed, which needs no share. What came out is read by `fullscale.pruning_claims`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from evidence.store import Row, Store
from evidence.study import Notify
from fullscale.cost import multiply_adds, parameters
from fullscale.criteria import CRITERIA, Criterion, prune_by
from fullscale.data import Images
from fullscale.feed import Feed, Resident
from fullscale.measure import measure
from fullscale.models import Architecture
from fullscale.outcome import loss_and_error
from fullscale.prune import remove_dead
from fullscale.pruning_claims import KIND, by_criterion
from fullscale.replicas import Replicas
from fullscale.spec import RunSpec
from fullscale.train import drawn, epoch_by_epoch, one_thread, train_together


@dataclass(frozen=True)
class Base:
    """How the networks are trained that are then cut: optimizer with L2 of this strength, lr / 10 for the last fifth.

    slimming: strength of L1 on BatchNorm's scales beside it, the training of Network Slimming. criteria: those tried on it.
    """

    name: str
    optimizer: str
    lr: float
    strength: float
    slimming: float = 0.0
    criteria: tuple[Criterion, ...] = CRITERIA


# Learning rates: of those that the study digits-lr cannot tell apart, ones at which filters die. The strength of slimming was
# chosen after trial runs: of 1e-3, 3e-3, 1e-2, 3e-2 and 1e-1 it is the largest that left the test error as it was. The
# paper's, 1e-4 and 1e-5, do little in so few steps.
BASES = (
    Base("adam", "adam", 1e-2, 5e-3),
    Base("momentum", "momentum", 3e-2, 5e-4),
    Base("slimming", "momentum", 3e-2, 5e-4, slimming=1e-2, criteria=("gamma",)),
)


@dataclass(frozen=True)
class PruningStudy:
    """The experiment. width: of BasicNet; batch, steps: of the training, to a whole number of epochs.

    shares: of the filters, asked of each criterion. tuning_steps: of the fine-tuning, with the optimizer, L2 and batch of the
    training (without slimming) and a constant lr, a tenth of the training's first.
    """

    width: float = 0.125
    batch: int = 16
    steps: int = 5_000
    bases: tuple[Base, ...] = BASES
    seeds: tuple[int, ...] = (0, 1, 2)
    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    tuning_steps: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "tuning_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: a positive whole number is accepted")

    def run(self, images: Images, store: Store, notify: Notify) -> xr.Dataset:
        """What `fullscale.pruning_claims.by_criterion` makes of the rows, those that are stored and those that have to be run.

        Row a training and seed, stored when it is done. Raises InputError for fewer training images than a batch,
        and if every network diverged.
        """
        epochs = max(1, round(self.steps / max(1, len(images.train.labels) // self.batch)))
        specs = {(b, s): self._spec(images, b, s, epochs) for b in self.bases for s in self.seeds}
        found: dict[tuple[Base, int], Row] = {
            key: row for key, spec in specs.items() if (row := store.get(KIND, spec)) is not None
        }
        if found:
            notify(len(found), len(specs), f"{len(found)} of {len(specs)} networks are stored already")
        one_thread()
        feed = Resident(images)
        for base in self.bases:
            missing = tuple(seed for seed in self.seeds if (base, seed) not in found)
            if missing:
                notify(len(found), len(specs), f"{base.name}: training {len(missing)} networks for {epochs} epochs")
            for seed, net in zip(missing, self._trained(images, feed, base, missing, epochs), strict=True):
                filled: dict[str, Any] = {"status": "diverged", "summary": {}}
                if net is not None:
                    filled = {"summary": {"points": self._points(net, base, seed, feed)}}
                found[base, seed] = store.put(KIND, specs[base, seed], curves={}, **filled)
                said = f"{100 * filled['summary']['points'][0]['error'][0]:.1f}% test error" if net else "diverged"
                notify(
                    len(found), len(specs), f"{base.name}, seed {seed}: {said}, cut by {len(base.criteria)} criteria"
                )
        return by_criterion([found[key] for key in specs], images.name)

    def _spec(self, images: Images, base: Base, seed: int, epochs: int) -> dict[str, Any]:
        named = ("width", "batch", "shares", "tuning_steps")
        own = {name: getattr(self, name) for name in named}
        return own | {"digest": images.digest, "epochs": epochs, "base": asdict(base), "seed": seed}

    def _trained(
        self, images: Images, feed: Feed, base: Base, seeds: tuple[int, ...], epochs: int
    ) -> Sequence[nn.Module | None]:
        if not seeds:
            return []
        if base.slimming:
            return slim(feed, base, seeds, self.width, self.batch, epochs)
        first = RunSpec(
            digest=images.digest,
            width=self.width,
            optimizer=base.optimizer,
            coupling="l2",
            lr=base.lr,
            strength=base.strength,
            batch=self.batch,
            epochs=epochs,
            seed=seeds[0],
            measure_every=epochs,
        )
        return [outcome.net for outcome in train_together([replace(first, seed=seed) for seed in seeds], images)]

    def _points(self, net: nn.Module, base: Base, seed: int, feed: Feed) -> list[dict[str, Any]]:
        """The whole network, the one without its dead filters, and what each criterion makes of it at each share."""
        x = torch.cat([images for images, _ in feed.training(1024)])
        dead, removal = remove_dead(net, measure(net, x))
        cut: list[tuple[str, float, nn.Module, float]] = [
            ("whole", 0.0, net, 0.0),
            ("dead", removal.share, dead, removal.share),
        ]
        for criterion in base.criteria:
            for share in self.shares:
                cut.append((criterion, share, *prune_by(net, criterion, share, x, seed)))
        points = []
        for name, share, small, reached in cut:
            errors = [finite_error(small, feed)]
            cost = {"parameters": parameters(small), "multiply_adds": multiply_adds(small, x)}
            fine_tune(small, feed, base, self.batch, self.tuning_steps, seed)
            errors.append(finite_error(small, feed))
            points.append({"criterion": name, "share": share, "reached": reached, "error": errors} | cost)
        return points


def fine_tune(net: nn.Module, feed: Feed, base: Base, batch: int, steps: int, seed: int) -> None:
    """Train the network on, in place, as `base` does but at a constant tenth of its lr and without slimming."""
    optimizer = Optimizer(net.parameters(), base.optimizer, "l2", lr=base.lr / 10, weight_decay=base.strength)
    order = torch.Generator().manual_seed(seed)
    for _ in epoch_by_epoch(net, optimizer, [feed], [order], np.full(steps, base.lr / 10), batch):
        pass
    net.eval()


def slim(
    feed: Feed, base: Base, seeds: tuple[int, ...], width: float, batch: int, passes: int
) -> list[nn.Module | None]:
    """BasicNets trained with L1 on BatchNorm's scales beside L2, one a seed, side by side; None where one diverged.

    passes: epochs of the training, the last fifth of them at lr / 10.
    Source: Liu et al., "Network Slimming" (arXiv 1708.06519), equation 1. Here scales begin at 1, in the paper at 1/2.
    """
    nets = drawn(Architecture("basicnet", width, feed.shape[0], len(feed.classes)), seeds)
    side_by_side = Replicas(nets)
    optimizer = Optimizer(side_by_side.parameters(), base.optimizer, "l2", lr=base.lr, weight_decay=base.strength)
    orders = [torch.Generator().manual_seed(seed) for seed in seeds]
    steps = feed.steps(batch)
    rates = np.where(np.arange(passes * steps) < passes * 4 // 5 * steps, base.lr, base.lr / 10)
    norms = [path for path, layer in nets[0].named_modules() if isinstance(layer, nn.BatchNorm2d)]

    def penalty() -> Tensor:
        weights = side_by_side.weights()
        return base.slimming * torch.cat([weights[f"{path}.weight"] for path in norms], dim=1).abs().sum()

    for _ in epoch_by_epoch(side_by_side, optimizer, [feed] * len(seeds), orders, rates, batch, penalty=penalty):
        pass
    taken = [side_by_side.take(i).eval() for i in range(len(seeds))]
    return [net if math.isfinite(finite_error(net, feed)) else None for net in taken]


def finite_error(net: nn.Module, feed: Feed) -> float:
    """The share of the test images that is misclassified; NaN if an output is not finite."""
    loss, error = loss_and_error(net, feed.test(1024))
    return error if math.isfinite(loss) else math.nan

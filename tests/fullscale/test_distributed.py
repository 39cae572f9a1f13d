"""Processes that share a run: what the lone run computes, written once, ended together."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from console import Said, refused, run
from PIL import Image
from shades import shades, spec
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from evidence.store import Store
from fullscale import checkpoint
from fullscale.distributed import Place, Team, place, team_of
from fullscale.execution import Execution
from fullscale.feed import WHOLE, Batch, Resident, Share
from fullscale.models import Architecture, build
from fullscale.spec import RunSpec
from fullscale.train import epoch_by_epoch, train

pytestmark = pytest.mark.usefixtures("forked")

IMAGES = shades()
SPEC = spec(IMAGES, epochs=4, augment=True, processes=2)
ALONE = 60.0


def _as_one(rank: int, count: int, port: int, job: Callable[..., Any], given: tuple[Any, ...], answers: Any) -> None:
    """In a process of its own: what torchrun says, then the job; its answer, or what it raised."""
    warnings.simplefilter("error")
    # A run looks for garbage where it lets its group go: not among all that was imported before this process began.
    gc.freeze()
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    try:
        answers.put((rank, job(*given)))
    except (InputError, BrokenExecutor) as error:
        answers.put((rank, error))


def shared(job: Callable[..., Any], *given: Any, count: int = 2) -> list[Any]:
    """What the job gives, or raises, in each of so many processes; None where it was killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    answers = [context.SimpleQueue() for _ in range(count)]
    processes = [context.Process(target=_as_one, args=(k, count, port, job, given, answers[k])) for k in range(count)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(ALONE)
            assert process.exitcode in (0, -signal.SIGKILL), f"exit status {process.exitcode}: a process hangs or broke"
    finally:
        for process in processes:
            process.kill()
    return [None if answer.empty() else answer.get()[1] for answer in answers]


class Doubles:
    """The batches of a feed in float64, in which roundings are far below what a mistake would do."""

    def __init__(self) -> None:
        self.feed = Resident(IMAGES, augment=True)
        self.shape = self.feed.shape

    def steps(self, batch: int) -> int:
        return self.feed.steps(batch)

    def epoch(self, batch: int, generator: torch.Generator, share: Share = WHOLE) -> Iterator[Batch]:
        for x, y in self.feed.epoch(batch, generator, share):
            yield x.double(), y


def setting(rule: str) -> tuple[nn.Module, Optimizer, torch.Generator]:
    torch.manual_seed(0)
    net = build(Architecture("basicnet", 0.04, 1, 2)).double()
    optimizer = Optimizer(net.parameters(), rule, "l2", lr=0.01, weight_decay=1e-3)
    return net, optimizer, torch.Generator().manual_seed(0)


def steps_of(asked: RunSpec, rule: str) -> tuple[list[float], dict[str, Any]]:
    """Two epochs of three steps: losses and the network."""
    net, optimizer, order = setting(rule)
    with team_of(asked, Execution()) as team:
        how: dict[str, Any] = {"team": team}
        feeds: list[Any] = [Doubles()]
        loop = epoch_by_epoch(net, optimizer, feeds, [order], lambda taken: np.full(len(taken), 0.01), 6, 8, **how)
        losses = [loss for [loss] in loop]
    return losses, {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def test_with_batchnorm_of_the_whole_batch_two_processes_are_the_lone_run() -> None:
    losses, expected = steps_of(replace(SPEC, processes=1), "adam")
    one, other = shared(steps_of, replace(SPEC, sync_batchnorm=True), "adam")
    assert one[0] == other[0] == pytest.approx(losses, rel=1e-6)  # cross entropy is taken in float32
    assert set(one[1]) == set(expected)
    for name, array in expected.items():
        assert np.allclose(array, one[1][name], rtol=0, atol=1e-10), name
        assert np.array_equal(one[1][name], other[1][name]), name


def test_without_it_each_takes_batchnorm_over_its_own_part() -> None:
    net, optimizer, order = setting("adam")
    net.train()
    for _ in range(2):
        for x, y in Doubles().epoch(8, order):
            optimizer.zero_grad()
            # Process 0's running statistics are those of its own parts: the other's go nowhere.
            others = {name: buffer.clone() for name, buffer in net.named_buffers()}
            outputs = net(x[:4]), functional_call(net, others, (x[4:],))
            losses = [cross_entropy(out.float(), part) for out, part in zip(outputs, y.split(4), strict=True)]
            (sum(losses) / 2).backward()
            optimizer.step()
    (said, state), (other, _) = shared(steps_of, SPEC, "adam")
    assert said == other
    for name, tensor in net.state_dict().items():
        assert np.allclose(tensor, state[name], rtol=0, atol=1e-10), name


class Deadly(Resident):
    """Images that kill a process in an epoch, both counted from 0, after the first batch."""

    def __init__(self, rank: int, epoch: int) -> None:
        super().__init__(IMAGES, augment=True)
        self.when, self.begun = (rank, epoch), 0

    def epoch(self, batch: int, generator: torch.Generator, share: Share = WHOLE) -> Iterator[Batch]:
        for found in super().epoch(batch, generator, share):
            yield found
            if (place().rank, self.begun) == self.when:
                os.kill(os.getpid(), signal.SIGKILL)
        self.begun += 1


def finished(asked: RunSpec, path: Path, rank: int = -1, epoch: int = 0) -> Any:
    """The run with a checkpoint, and whom it kills when: what the end is, but for what the clock says."""
    outcome = train(asked, Deadly(rank, epoch), checkpoint=path)
    if outcome.net is None:
        return outcome.status, outcome.summary.get("batchnorm_batch")
    summary = {name: value for name, value in outcome.summary.items() if name not in ("seconds", "certificate")}
    return checkpoint.as_bytes(outcome.net), outcome.curves, summary


def test_killed_whichever_it_ends_bit_equal(tmp_path: Path) -> None:
    # Of all rules the one whose weights in training are others than those that are measured. Three processes: sums of two
    # numbers are the same in any order.
    asked = replace(SPEC, optimizer="schedule_free", measure_every=2, batch=9, processes=3)
    expected = shared(finished, asked, tmp_path / "whole", count=3)
    assert expected[0][2]["batchnorm_batch"] == 3
    assert expected[1:] == [("done", None)] * 2
    for rank in (1, 0):  # each time in the second epoch of what was left
        found = shared(finished, asked, tmp_path / "killed", rank, 1, count=3)
        assert found.pop(rank) is None
        assert [type(error) for error in found] == [BrokenExecutor] * 2
    assert shared(finished, asked, tmp_path / "killed", count=3) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]
    with pytest.raises(InputError, match="processes 3, asked for is at its default"):
        train(replace(asked, processes=1), IMAGES, checkpoint=tmp_path / "whole")


def disagreeing(path: Path) -> Any:
    return train(replace(SPEC, epochs=1 + place().rank), IMAGES, checkpoint=path)


def test_both_end_where_one_cannot_go_on(tmp_path: Path) -> None:
    for error in shared(disagreeing, tmp_path / "run"):
        assert isinstance(error, InputError)
        assert str(error) == (
            "process 1 has settings, images or a checkpoint other than those of process 0: the same are accepted"
        )
    found = shared(finished, replace(SPEC, optimizer="sgd", lr=1e30), tmp_path / "run")
    assert found == [("diverged", 4), ("diverged", None)]
    assert list(tmp_path.iterdir()) == []


def test_dropout_differs_by_process_and_epoch_and_comes_again() -> None:
    def drawn(team: Team, epoch: int) -> list[float]:
        torch.manual_seed(5)
        team.begin_epoch(0, epoch)
        found: list[float] = torch.rand(3).tolist()
        return found

    kinds = [drawn(Team(rank, 2), epoch) for rank in range(2) for epoch in range(2)]
    assert len({tuple(kind) for kind in kinds}) == 4
    assert kinds == [drawn(Team(rank, 2), epoch) for rank in range(2) for epoch in range(2)]
    assert drawn(Team(), 0) == drawn(Team(), 1)  # the lone run's stream goes on


def commanded(*arguments: object) -> Said:
    return run("train", *arguments, "--width", "0.03", "--epochs", "1")


def test_the_command_writes_once_and_ordinary_networks(tmp_path: Path) -> None:
    for k, (pixels, label) in enumerate(zip(IMAGES.train.images, IMAGES.train.labels, strict=True)):
        (tmp_path / "shades" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0]).save(tmp_path / "shades" / str(label) / f"{k}.png")
    asked = (tmp_path / "shades", "--batch", "8", "--sync-batchnorm", "--out", tmp_path / "out")
    led, followed = shared(commanded, *asked)
    assert (led.status, led.problems, followed.status, followed.out, followed.err) == (0, [], 0, "", "")
    assert "1 of 1 done" in led.err
    with Store(tmp_path / "out" / "results.sqlite") as store:
        [row] = store.rows("train")
    assert (row.spec["processes"], row.spec["sync_batchnorm"], row.summary["batchnorm_batch"]) == (2, True, 8)
    net = checkpoint.load_network(tmp_path / "out" / "network.safetensors")
    assert any(type(module) is nn.BatchNorm2d for module in net.modules())


def test_what_cannot_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("digits", "--out", tmp_path / "out")
    refused(commanded("--sync-batchnorm", *out), "sync_batchnorm True with 1 process")
    with pytest.raises(InputError, match="processes 2 in a group of 1: torchrun --nproc-per-node 2 starts them"):
        train(SPEC, IMAGES)
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(commanded(*out), "WORLD_SIZE without RANK, LOCAL_RANK", "torchrun")
    for name, value in (("RANK", 1), ("LOCAL_RANK", 1), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", 1)):
        monkeypatch.setenv(name, str(value))
    assert place() == Place(1, 2, 1)
    # Before the processes join, which would wait here for the other one.
    refused(commanded("--batch", "9", *out), "batch 9 for 2 processes")
    refused(commanded("--compile", *out), "compile or graphs for a run of 2 processes")
    with pytest.raises(InputError, match="processes 3 in a group of 2"):
        train(replace(SPEC, processes=3, batch=9), IMAGES)
    assert not (tmp_path / "out").exists()

"""A run that was killed goes on and ends as if it had not been."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from shades import shades, spec, training

from dynamics.errors import InputError
from fullscale import checkpoint
from fullscale.measure import measure
from fullscale.models import Architecture, build
from fullscale.prune import remove_dead
from fullscale.spec import RunSpec
from fullscale.train import train

IMAGES = shades()
M = "optimizer/head.bias/m"
SPEC = spec(IMAGES, epochs=6, seed=3, augment=True)


def work(asked: RunSpec, path: Path, told: Any) -> None:
    """In a process of its own: the run, saying which epochs are done."""
    torch.set_num_threads(1)
    train(asked, shades(), lambda epoch, _: told.put(epoch), checkpoint=path)
    told.put(asked.epochs)  # also where nothing was left to do


def ended(asked: RunSpec, path: Path) -> tuple[bytes, dict[str, list[float]]]:
    """The run to its end in this process: the network's file, and the curves."""
    outcome = train(asked, IMAGES, checkpoint=path)
    assert outcome.status == "done"
    checkpoint.save(outcome.net, path.with_name("end"))
    return path.with_name("end").read_bytes(), outcome.curves


@pytest.mark.usefixtures("unjudged")
@pytest.mark.usefixtures("forked")
def test_killed_at_random_moments_it_ends_bit_equal(tmp_path: Path) -> None:
    expected, curves = ended(SPEC, tmp_path / "whole")
    path = tmp_path / "killed"
    draws = random.Random(0)
    context = multiprocessing.get_context("forkserver")
    kills = 0
    while kills < 3:
        told = context.SimpleQueue()
        process = context.Process(target=work, args=(SPEC, path, told))
        process.start()
        for _ in range(draws.randint(0, 2)):  # epochs that it may finish, then somewhere in the next
            if told.get() == SPEC.epochs:
                break
        time.sleep(draws.random() * 0.1)  # where exactly does not matter for what is tested
        process.kill()  # or it has just ended
        process.join()
        kills += 1
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith("killed")] in ([], ["killed"])
        if path.exists():
            checkpoint.load(path)
    assert ended(SPEC, path) == (expected, curves)


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("rule", ["adam", "momentum", "schedule_free", "nadam", "lamb", "adadelta"])
def test_every_kind_of_state_comes_back(tmp_path: Path, rule: str) -> None:
    asked = replace(SPEC, optimizer=rule, lr=1e-3, epochs=4)
    expected = ended(asked, tmp_path / "whole")

    def stop(epoch: int, _: list[float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(asked, IMAGES, stop, checkpoint=tmp_path / "run")
    heard: list[int] = []
    train(asked, IMAGES, lambda epoch, _: heard.append(epoch), checkpoint=tmp_path / "run")
    assert heard == [3, 4]
    # And once more: nothing is left to do, the end is the same.
    assert ended(asked, tmp_path / "run") == expected


@pytest.mark.usefixtures("unjudged")
def test_dropout_goes_on_where_it_was(tmp_path: Path) -> None:
    asked = replace(SPEC, model="vgg11", head="imagenet", width=1 / 64, epochs=2)
    expected = ended(asked, tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        train(asked, IMAGES, lambda *_: 1 / 0, checkpoint=tmp_path / "run")
    torch.manual_seed(99)  # another process is somewhere else
    assert ended(asked, tmp_path / "run") == expected


@pytest.mark.usefixtures("unjudged")
def test_checkpoint_of_another_run_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(replace(SPEC, epochs=1), IMAGES, checkpoint=path)
    content = path.read_bytes()
    for asked, words in (
        (SPEC, "another run (epochs 1, asked for is 6)"),
        (replace(SPEC, epochs=1, augment=False), "another run (augment True, asked for is at its default)"),
        (replace(SPEC, epochs=1, optimizer="sgd"), "another run (optimizer 'adam', asked for is 'sgd')"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            train(asked, IMAGES, checkpoint=path)
    assert path.read_bytes() == content


def test_training_goes_on_from_a_file_pruned_or_not(tmp_path: Path) -> None:
    path = tmp_path / "run"
    train(replace(SPEC, epochs=2), IMAGES, checkpoint=path)
    saved = checkpoint.load(path)
    more = replace(SPEC, epochs=1, start="some digest", schedule="constant")
    fresh = checkpoint.load(path)
    fresh.notes.pop("optimizer")
    with_state, without = train(more, IMAGES, start=saved), train(more, IMAGES, start=fresh)
    assert with_state.curves["loss"] != without.curves["loss"]
    net = checkpoint.load(path).net
    net.blocks[2].norm.weight.data[0] = 0
    net.blocks[2].norm.bias.data[0] = -1
    smaller, _ = remove_dead(net, measure(net, training(IMAGES)[0]))
    pruned = train(more, IMAGES, start=checkpoint.Saved(smaller))
    assert pruned.status == "done"
    assert pruned.net.blocks[2].conv.out_channels < net.blocks[2].conv.out_channels


@pytest.mark.usefixtures("unjudged")
def test_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, path = replace(SPEC, epochs=1), tmp_path / "run"
    train(asked, IMAGES, checkpoint=path)
    content = path.read_bytes()
    damages: list[tuple[Callable[[Any, Any], Any], str]] = [
        (lambda notes, extra: notes.pop("epoch"), "KeyError: 'epoch'"),
        (lambda notes, extra: notes.update(epoch=99), "epoch 99 of 1"),
        (lambda notes, extra: notes.update(epoch=float("inf")), "epoch inf: a whole number from 0 is accepted"),
        (lambda notes, extra: notes.update(epoch=True), "epoch True: a whole number from 0 is accepted"),
        (lambda notes, extra: notes.update(seconds=-1), "seconds -1: a finite number from 0 is accepted"),
        (lambda notes, extra: notes.update(curves=None), "curves None: names with values are accepted"),
        (lambda notes, extra: notes["curves"].update(loss=1), "curves 'loss' 1: a list of numbers is accepted"),
        (lambda notes, extra: notes["curves"].update(loss=[]), "curves of 0 and 1 points"),
        (lambda notes, extra: notes["curves"].update(loss=["x"]), "curves 'loss' 'x': a finite number is accepted"),
        (lambda notes, extra: notes["curves"].update(epoch=[2.0]), "curves that are not of the 1 epochs"),
        (lambda notes, extra: notes["curves"].pop("loss"), "curves that are not of the 1 epochs"),
        (lambda notes, extra: notes["optimizer"].pop("clocks"), "rule, clocks and training are accepted"),
        (
            lambda notes, extra: notes["optimizer"].update(rule="sgd"),
            "optimizer state of sgd: that of adam is accepted",
        ),
        (lambda notes, extra: notes["optimizer"].update(training=1), "training of optimizer 1: True or False"),
        (
            lambda notes, extra: notes["optimizer"]["clocks"].update({"head.bias": {"step": "x"}}),
            "'x': a finite number",
        ),
        (lambda notes, extra: notes["optimizer"]["clocks"].pop("head.bias"), "no parameter that has a clock"),
        (lambda notes, extra: notes["optimizer"]["clocks"].update(x={}), "no parameter that has a clock"),
        (lambda notes, extra: notes.update(optimizer=None), "optimizer None: names with values are accepted"),
        (lambda notes, extra: notes.update(spec=[1]), "spec [1]: names with values are accepted"),
        (lambda notes, extra: notes["spec"].update(epochs=True), "another run (epochs True, asked for is 1)"),
        (lambda notes, extra: extra.pop("order"), "KeyError: 'order'"),
        (lambda notes, extra: extra.update(order=torch.zeros(3, dtype=torch.uint8)), ""),
        (lambda notes, extra: extra.update({M: torch.zeros(7)}), f"{M} is torch.float32 (7,), its parameter"),
        (lambda notes, extra: extra.update({M: torch.zeros(2).double()}), f"{M} is torch.float64 (2,), its parameter"),
    ]
    for damage, words in damages:
        path.write_bytes(content)
        saved = checkpoint.load(path)
        damage(saved.notes, saved.extra)
        with monkeypatch.context() as patch:  # which refuses them, too
            patch.setattr(checkpoint, "check_notes", lambda notes: notes)
            checkpoint.save(saved.net, path, saved.extra, saved.notes)
        with pytest.raises(InputError) as caught:
            train(asked, IMAGES, checkpoint=path)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unjudged")
def test_start_that_does_not_fit_is_refused_and_one_that_fits_is_left_as_it_was(tmp_path: Path) -> None:
    train(replace(SPEC, epochs=1), IMAGES, checkpoint=tmp_path / "run")
    start = checkpoint.load(tmp_path / "run")
    more = replace(SPEC, epochs=1, start="some digest")
    before = {name: tensor.clone() for name, tensor in start.net.state_dict().items()}
    one, two = train(more, IMAGES, start=start), train(more, IMAGES, start=start)
    assert all(torch.equal(tensor, before[name]) for name, tensor in start.net.state_dict().items())
    assert one.curves == two.curves
    with pytest.raises(InputError, match=r"start in torch\.float64: float32 is accepted"):
        train(more, IMAGES, start=checkpoint.Saved(checkpoint.load(tmp_path / "run").net.double()))
    other = checkpoint.Saved(build(Architecture("resnet20", 0.1, 3, 7)))
    with pytest.raises(InputError, match="start for images of 3 channels in 7 classes: these have 1 in 2"):
        train(more, IMAGES, start=other)


def test_what_a_killed_write_left_is_cleared_away_and_no_checkpoint_of_what_diverged_is_kept(tmp_path: Path) -> None:
    (tmp_path / f".{hashlib.sha256(b'run').hexdigest()[:16]}.0123abcd").write_bytes(b"half")
    train(replace(SPEC, epochs=1), IMAGES, checkpoint=tmp_path / "run")
    outcome = train(replace(SPEC, optimizer="sgd", lr=1e30), IMAGES, checkpoint=tmp_path / "other")
    assert outcome.status == "diverged"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]

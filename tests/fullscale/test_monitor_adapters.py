"""The callbacks in real trainers: what they see is what the monitor sees in a plain loop."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monitored import adam, batch, seen, small
from monitored import train as run
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from dynamics.errors import InputError
from dynamics.optimizer import Optimizer
from fullscale.monitor import Monitor

# Of these libraries themselves, about what they find on this machine or will drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*(num_workers|pin_memory|resuming from a checkpoint).*"),
]
STEPS, BATCH = 7, 8


def images() -> tuple[Tensor, Tensor]:
    xs, ys = zip(*(batch(step, BATCH) for step in range(STEPS)), strict=True)
    return torch.cat(xs), torch.cat(ys)


def assert_alike(found: Monitor | None) -> None:
    """To what is seen in a plain loop."""
    assert found is not None
    assert (found.step, found.note) == (STEPS, [])
    history, expected = found.history, seen(STEPS, 2).history
    assert history.step.values.tolist() == [0, 2, 4, 6]
    for name in ("gamma", "beta", "margin", "selectivity", "share_gamma", "share_weights", "pull"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-4, atol=1e-6)


def assert_bare(net: nn.Module, optimizer: Any) -> None:
    """No hook is left on them."""
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_in_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    from fullscale.monitor.lightning import MonitorCallback

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def training_step(self, pair: Any, index: int) -> Tensor:
            return cross_entropy(self(pair[0]), pair[1])

        def configure_optimizers(self) -> Any:
            return adam(self)

    def trainer(callback: MonitorCallback, steps: int) -> Trainer:
        return Trainer(
            accelerator="cpu", devices=1, max_steps=steps, callbacks=[callback], logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
        )  # fmt: skip

    loader = DataLoader(TensorDataset(*images()), BATCH)
    callback = MonitorCallback(interval=2)
    module = Module()
    trainer(callback, STEPS).fit(module, loader)
    assert_alike(callback.monitor)
    assert callback.monitor
    assert callback.monitor.watched.units[0].norm == "net.1"
    assert not any(m._forward_hooks for m in module.modules())

    first = trainer(MonitorCallback(interval=2), 3)
    first.fit(Module(), loader)
    first.save_checkpoint(tmp_path / "half.ckpt")
    rest = MonitorCallback(interval=5)
    trainer(rest, 4).fit(Module(), loader, ckpt_path=tmp_path / "half.ckpt")
    assert rest.monitor
    assert (rest.monitor.history.step.values.tolist(), rest.monitor.step) == ([0, 2], 4)
    with pytest.raises(InputError, match="which 1"):
        trainer(MonitorCallback(which=1), 1).fit(Module(), loader)


def test_own_optimizer_and_scheduler_go_on_in_lightning_as_if_they_had_not_stopped(tmp_path: Path) -> None:
    """With gradients accumulated over two batches; an error, a checkpoint without the monitor, and a second callback of one
    optimizer are told of."""
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    from fullscale.monitor.lightning import MonitorCallback

    class Module(LightningModule):
        def __init__(self, fails: int = -1) -> None:
            super().__init__()
            self.net, self.fails = small(), fails

        def training_step(self, pair: Any, index: int) -> Tensor:
            if index == self.fails:
                raise ArithmeticError
            return cross_entropy(self.net(pair[0]), pair[1])

        def configure_optimizers(self) -> Any:
            optimizer = Optimizer(self.parameters(), "adam", "l2", lr=1e-2, weight_decay=1e-2)
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def trainer(*callbacks: MonitorCallback, epochs: int = 1) -> Trainer:
        return Trainer(
            accelerator="cpu", devices=1, max_epochs=epochs, callbacks=list(callbacks), logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path, accumulate_grad_batches=2,
        )  # fmt: skip

    loader = DataLoader(TensorDataset(*(x[: 4 * BATCH] for x in images())), BATCH)  # two steps an epoch

    def fitted(epochs: int, resumed: Path | None, save: Path, *callbacks: MonitorCallback) -> Any:
        by, module = trainer(*callbacks, epochs=epochs), Module()
        by.fit(module, loader, ckpt_path=resumed)
        by.save_checkpoint(save)
        return module, by

    whole, half, rest = (MonitorCallback(interval=1) for _ in range(3))
    ends = [fitted(2, None, tmp_path / "whole.ckpt", whole)]
    fitted(1, None, tmp_path / "half.ckpt", half)
    ends.append(fitted(2, tmp_path / "half.ckpt", tmp_path / "rest.ckpt", rest))
    for a, b in zip(*(module.state_dict().values() for module, _ in ends), strict=True):
        assert torch.equal(a, b)
    one, two = (by.optimizers[0].state_dict() for _, by in ends)
    assert one["param_groups"] == two["param_groups"]
    assert one["param_groups"][0]["lr"] == 1e-2 / 16
    for i, held in one["state"].items():
        assert all(torch.equal(torch.as_tensor(x), torch.as_tensor(two["state"][i][name])) for name, x in held.items())
    assert whole.monitor is not None
    assert rest.monitor is not None
    assert whole.monitor.step == 4
    assert whole.monitor.history.identical(rest.monitor.history)

    fitted(1, None, tmp_path / "without.ckpt")
    late = MonitorCallback(interval=1)
    fitted(2, tmp_path / "without.ckpt", tmp_path / "x.ckpt", late)
    assert late.monitor is not None
    assert late.monitor.history.step.values.tolist() == [2, 3]
    assert "resumed at step 2 without a state of this callback" in late.monitor.note[0]
    fails, failing = Module(fails=1), MonitorCallback()
    by = trainer(failing)
    with pytest.raises(ArithmeticError):
        by.fit(fails, loader)
    assert_bare(fails, by.optimizers[0])
    assert len({MonitorCallback(which=which).state_key for which in range(3)}) == 3
    trainer(*(MonitorCallback(which=which) for which in range(3)))
    with pytest.raises(RuntimeError, match="more than one stateful callback of type `MonitorCallback`"):
        trainer(MonitorCallback(), MonitorCallback(interval=3))
    for wrong in ({"which": -1}, {"which": 1.5}, {"interval": 0}, {"live": 1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            MonitorCallback(**wrong)
    with pytest.raises(InputError, match="no state of a monitor"):
        MonitorCallback().load_state_dict({"step": 1})


def test_in_lightning_each_of_two_optimizers_has_a_callback_of_its_own(tmp_path: Path) -> None:
    """A GAN: the module itself is never called, only its two networks are."""
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    from fullscale.monitor.lightning import MonitorCallback

    class Gan(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.g = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
            self.d = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

        def training_step(self, given: Any, index: int) -> None:
            for optimizer, loss in zip(self.optimizers(), (self.lost_g, self.lost_d), strict=True):
                optimizer.zero_grad()
                self.manual_backward(loss(given[0]))
                optimizer.step()

        def lost_g(self, x: Tensor) -> Tensor:
            return self.d(self.g(x)).mean()

        def lost_d(self, x: Tensor) -> Tensor:
            return (self.d(x) - self.d(self.g(x).detach())).mean()

        def configure_optimizers(self) -> Any:
            return [torch.optim.Adam(net.parameters(), weight_decay=1e-2) for net in (self.g, self.d)]

    loader = DataLoader(TensorDataset(torch.randn(24, 4)), 8)
    for resumed in (None, tmp_path / "gan.ckpt"):
        callbacks = [MonitorCallback(interval=1), MonitorCallback(interval=1, which=1)]
        trainer = Trainer(
            accelerator="cpu", devices=1, max_epochs=2 if resumed else 1, callbacks=callbacks, logger=False,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(Gan(), loader, ckpt_path=resumed)
        trainer.save_checkpoint(tmp_path / "gan.ckpt")
        for which, callback in enumerate(callbacks):
            monitor = callback.monitor
            assert monitor is not None
            assert monitor.history.step.values.tolist() == list(range(6 if resumed else 3))
            assert (monitor.filters, set(monitor.watched.layers)) == (14, {"g.1", "d.0"})
            own = np.array(monitor.watched.layers) == ("g.1", "d.0")[which]
            assert np.isfinite(monitor.history["share_beta"][:, own]).all()
            assert monitor.history["share_beta"][:, ~own].isnull().all()


class Wrapped(torch.optim.Optimizer):
    """As accelerate wraps an optimizer: of torch's class, with nothing of its own."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer


class Stand:
    """What the Trainer of Transformers does with a callback and an optimizer, as far as this one goes."""

    def __init__(self, folder: Path, callback: Any, save: int | None = None) -> None:
        self.args = SimpleNamespace(output_dir=str(folder), resume_from_checkpoint=None)
        self.state = SimpleNamespace(global_step=0, is_world_process_zero=True, best_model_checkpoint=None)
        self.callback, self.save, self.folder = callback, save, folder
        self.net = small()
        self.optimizer = adam(self.net)

    def train(self, steps: int, resume: Path | None = None) -> Monitor:
        if resume is not None:
            saved = torch.load(resume / "all.pt", weights_only=True)
            self.state.global_step = saved["step"]
            self.net.load_state_dict(saved["net"])
            self.optimizer.load_state_dict(saved["optimizer"])
        given: Any = {"model": self.net, "optimizer": Wrapped(self.optimizer)}
        self.callback.on_train_begin(self.args, self.state, None, **given)
        for step in range(self.state.global_step, steps):
            run(self.net, self.optimizer, range(step, step + 1))
            self.state.global_step = step + 1
            if step + 1 == self.save:
                folder = self.folder / f"checkpoint-{step + 1}"
                folder.mkdir(parents=True)
                all_of = {"step": step + 1, "net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
                torch.save(all_of, folder / "all.pt")
                self.callback.on_save(self.args, self.state, None, **given)
        self.callback.on_train_end(self.args, self.state, None, **given)
        monitor: Monitor = self.callback.monitor
        return monitor


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch) -> Any:
    """MonitorCallback over the least of Transformers that it needs."""
    names = ("TrainerControl", "TrainerState", "TrainingArguments")
    stub = ModuleType("transformers")
    stub.__dict__.update({"TrainerCallback": object} | dict.fromkeys(names, object))
    monkeypatch.setitem(sys.modules, "transformers", stub)
    monkeypatch.delitem(sys.modules, "fullscale.monitor.huggingface", raising=False)
    module = importlib.import_module("fullscale.monitor.huggingface")
    del sys.modules["fullscale.monitor.huggingface"]  # for good: another test may import it over Transformers itself
    return module.MonitorCallback


@pytest.mark.grid(5)
@pytest.mark.parametrize(
    "where", ["output", "told", "best", "new folder", "moved", "another", "none", "former", "damaged", "no path"]
)
def test_a_checkpoint_from_elsewhere_is_found_or_missed_aloud(tmp_path: Path, callback: Any, where: str) -> None:
    saved = tmp_path / "one" / "checkpoint-4"
    Stand(tmp_path / "one", callback(interval=2), save=4).train(STEPS)
    if where == "moved":
        saved = saved.rename(tmp_path / "elsewhere")
    file = saved / "monitor.safetensors"
    if where == "none":
        file.unlink()
    if where == "former":
        file.rename(saved / "monitor.pt")
    if where == "damaged":
        file.write_bytes(file.read_bytes()[:-5])
    if where == "another":  # run stands at the same step in the new folder
        other = Stand(tmp_path / "two", callback(interval=2), save=4)
        nn.init.ones_(other.net[7].bias)
        other.train(4)
    again = callback(interval=2, resume_from_checkpoint=saved if where == "told" else None)
    here = where in ("output", "none", "former", "damaged")
    stand = Stand(tmp_path / ("one" if here else "two"), again)
    if where == "new folder":
        stand.state.stateful_callbacks = {"undertow monitor": str(tmp_path / "one")}
    if where == "no path":
        stand.state.stateful_callbacks = {"undertow monitor": "x" * 5_000}
    if where == "best":
        stand.state.best_model_checkpoint = str(saved.parent / "checkpoint-2")
    monitor = stand.train(STEPS, resume=saved)
    words = {
        "moved": "no monitor.safetensors there",
        "another": "of a run with other weights",
        "none": "no monitor.safetensors there",
        "former": "monitor.pt there is of an older version, and not read",
        "damaged": "not a whole safetensors file",
        "no path": "no monitor.safetensors there",
    }
    if where in words:
        assert monitor.history.step.values.tolist() == [4, 6]
        assert ["resumed at step 4" in note and words[where] in note for note in monitor.note] == [True, False]
    else:
        assert_alike(monitor)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_checkpoint_that_is_told_and_not_there_is_refused(tmp_path: Path, callback: Any, damaged: bool) -> None:
    Stand(tmp_path / "one", callback(), save=2).train(2)
    saved = tmp_path / "one" / "checkpoint-2"
    if damaged:
        (saved / "monitor.safetensors").write_bytes(b"no safetensors")
    stand = Stand(tmp_path / "two", callback(resume_from_checkpoint=saved if damaged else tmp_path))
    with pytest.raises(InputError, match=r"monitor\.safetensors"):
        stand.train(4, resume=saved)
    assert_bare(stand.net, stand.optimizer)


@pytest.mark.parametrize("folder", [3, "", "a\0b", "x" * 5_000, Path("x" * 300)])
def test_what_is_no_folder_of_a_checkpoint_is_refused_at_once(callback: Any, folder: Any) -> None:
    with pytest.raises(InputError, match=r"^resume_from_checkpoint .{1,120} is accepted$"):
        callback(resume_from_checkpoint=folder)


def test_two_callbacks_of_one_trainer_are_kept_apart_and_a_file_that_cannot_be_written_ends_nothing(
    tmp_path: Path, callback: Any
) -> None:
    for resumed in (False, True):
        stand, second = Stand(tmp_path, callback(interval=2), save=None if resumed else 4), callback(interval=3)
        given = {"model": stand.net, "optimizer": stand.optimizer}
        begin, save = stand.callback.on_train_begin, stand.callback.on_save

        def both(*all_of: Any, begin: Any = begin, second: Any = second, given: Any = given, **_: Any) -> None:
            begin(*all_of, **given)
            second.on_train_begin(*all_of, **given)

        def saves(*all_of: Any, save: Any = save, second: Any = second, given: Any = given, **_: Any) -> None:
            save(*all_of, **given)
            second.on_save(*all_of, **given)

        stand.callback.on_train_begin, stand.callback.on_save = both, saves
        stand.train(STEPS, resume=tmp_path / "checkpoint-4" if resumed else None)
        for of, interval in ((stand.callback.monitor, 2), (second.monitor, 3)):
            assert of.history.step.values.tolist() == list(range(0, STEPS, interval))
            assert of.note == []
    stand.state.global_step = 99
    save(stand.args, stand.state, None, **given)
    assert "not saved at step 99" in stand.callback.monitor.note[0]


class WithLoss(nn.Module):
    """As models of Transformers are called: by keywords, with the loss first; it cannot be traced as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.net(x)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


def test_in_the_trainer_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    from transformers import Trainer, TrainingArguments

    from fullscale.monitor.huggingface import FILE, MonitorCallback

    pairs = [{"x": x, "labels": y} for x, y in zip(*images(), strict=True)]

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(pairs)

    def trainer(callback: MonitorCallback, steps: int, own: bool = False, folder: str = "one") -> Trainer:
        arguments = TrainingArguments(
            output_dir=str(tmp_path / folder), per_device_train_batch_size=BATCH, max_steps=steps, use_cpu=True, report_to=[],
            save_steps=4, logging_steps=1000, disable_tqdm=True, max_grad_norm=0.0, remove_unused_columns=False,
        )  # fmt: skip
        if own:
            arguments.gradient_accumulation_steps = 2
        net = WithLoss()
        optimizer = Optimizer(net.parameters(), "adam", "l2", lr=1e-2, weight_decay=1e-2) if own else adam(net)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step if own else 1.0)
        return InOrder(net, arguments, train_dataset=pairs, callbacks=[callback], optimizers=(optimizer, schedule))

    callback = MonitorCallback(interval=2)
    trainer(callback, STEPS).train()
    assert_alike(callback.monitor)
    assert (tmp_path / "one" / "checkpoint-4" / FILE).is_file()

    before: Any = str(tmp_path / "one" / "checkpoint-4")
    for folder, told in (("one", before), ("two", before), ("one", True)):
        shutil.rmtree(tmp_path / folder / "checkpoint-7", ignore_errors=True)  # True means the last
        resumed = MonitorCallback(interval=5)
        trainer(resumed, STEPS, folder=folder).train(resume_from_checkpoint=told)
        assert_alike(resumed.monitor)
    nothing = MonitorCallback()
    trainer(nothing, STEPS).train(resume_from_checkpoint=True)
    assert nothing.monitor is not None
    assert nothing.monitor.note == ["what was seen before the resume is shown from the first step on"]

    callbacks, ends = [MonitorCallback(interval=2) for _ in range(2)], []
    for callback, told in zip(callbacks, (None, str(tmp_path / "own" / "checkpoint-4")), strict=True):
        by = trainer(callback, STEPS, own=True, folder="own" if told is None else "further")
        by.train(resume_from_checkpoint=told)
        ends.append([*by.model.state_dict().values(), torch.as_tensor(by.lr_scheduler.get_last_lr())])
        ends[-1] += [torch.as_tensor(x) for held in by.optimizer.optimizer.state.values() for x in held.values()]
        assert callback.monitor is not None
        assert callback.monitor.step == STEPS
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert callbacks[0].monitor is not None
    assert callbacks[1].monitor is not None
    assert callbacks[0].monitor.history.identical(callbacks[1].monitor.history)

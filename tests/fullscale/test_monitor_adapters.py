"""The callbacks in real trainers: what they see is what the monitor sees in a plain loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monitored import adam, batch, seen, small
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from dynamics.errors import InputError
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

    def trainer(callback: MonitorCallback, steps: int) -> Trainer:
        arguments = TrainingArguments(
            output_dir=str(tmp_path), per_device_train_batch_size=BATCH, max_steps=steps, use_cpu=True, report_to=[],
            save_steps=4, logging_steps=1000, disable_tqdm=True, max_grad_norm=0.0, remove_unused_columns=False,
        )  # fmt: skip
        net = WithLoss()
        optimizer = adam(net)
        constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        return InOrder(net, arguments, train_dataset=pairs, callbacks=[callback], optimizers=(optimizer, constant))

    callback = MonitorCallback(interval=2)
    trainer(callback, STEPS).train()
    assert_alike(callback.monitor)
    assert (tmp_path / "checkpoint-4" / FILE).is_file()

    resumed = MonitorCallback(interval=5)
    trainer(resumed, STEPS).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert_alike(resumed.monitor)

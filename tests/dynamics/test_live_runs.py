"""What read says of groups: which parameters decay, over a run with torch's own scheduler, and what usually goes wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as torchs

from dynamics.answers.live import read
from dynamics.answers.schedule import plan
from dynamics.answers.usual import table
from dynamics.errors import InputError


def network() -> nn.Module:
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))


def split(net: nn.Module, **second: Any) -> list[dict[str, Any]]:
    matrices = [p for p in net.parameters() if p.ndim > 1]
    return [{"params": matrices}, {"params": [p for p in net.parameters() if p.ndim <= 1], **second}]


def test_a_run_is_what_torchs_own_optimizer_and_scheduler_leave() -> None:
    w = nn.Parameter(torch.ones(3, dtype=torch.float64))
    v = nn.Parameter(torch.ones(3, dtype=torch.float64))
    both: list[dict[str, Any]] = [{"params": [w]}, {"params": [v], "lr": 0.03, "weight_decay": 0.5}]
    adamw = torch.optim.AdamW(both, lr=0.01, weight_decay=0.1)
    scheduler = torchs.LambdaLR(adamw, lambda t: min(t / 10, 1.0))  # lr 0 at first
    groups = read(adamw, scheduler=scheduler, steps=80, steps_per_epoch=8)
    for _ in range(80):
        w.grad, v.grad = torch.zeros_like(w), torch.zeros_like(v)
        adamw.step()
        scheduler.step()
    for group, weight, lr in zip(groups, (w, v), (0.01, 0.03), strict=True):
        assert group.run is not None
        assert group.run.left.size == pytest.approx(weight[0].item(), rel=1e-9)
        assert f"lr={lr:g} " in group.setting
        assert group.decays
        assert "Over the run, LambdaLR, 80 steps, the first 10 of them warmup:" in str(group)
    json.dumps([group.as_dict() for group in groups])


def test_kinds_by_modules_by_names_and_by_shape() -> None:
    net = network()
    found = {kind.kind: kind.names for kind in read(torch.optim.AdamW(net.parameters()), net=net)[0].kinds}
    assert found == {
        "embeddings": ["0.weight"],
        "weights": ["1.weight", "3.weight"],
        "norms": ["2.weight", "2.bias"],
        "biases": ["1.bias", "3.bias"],
    }
    [group] = read(torch.optim.AdamW(net.parameters()))
    assert {kind.kind: (kind.tensors, kind.names) for kind in group.kinds} == {
        "weights": (3, []),
        "one-dimensional": (4, []),
    }
    own = [("wte.weight", torch.ones(3, 2)), ("h.0.ln_1.weight", torch.ones(2)), ("attn.in_proj_bias", torch.ones(2))]
    named = torch.optim.AdamW([(name, nn.Parameter(p)) for name, p in own])
    assert {kind.kind for kind in read(named)[0].kinds} == {"embeddings", "norms", "biases"}


def test_what_usually_goes_wrong_is_said_and_what_is_right_is_not() -> None:
    net = network()

    def said(optimizer: Any, **given: Any) -> str:
        return " | ".join(text for group in read(optimizer, net=net, **given) for text in group.warnings)

    right = torch.optim.AdamW(split(net, weight_decay=0.0), lr=1e-3, weight_decay=0.1)
    assert said(right, scheduler=plan("cosine", 50_000)) == ""
    assert "2 tensors of norms and 2 tensors of biases decay too" in said(torch.optim.AdamW(net.parameters()))
    assert "is Adam: nothing decays" in said(torch.optim.AdamW(split(net), weight_decay=0.0))
    assert "is Adam" not in said(torch.optim.Adam(net.parameters()))
    assert "group 0 is the same" in said(torch.optim.AdamW(split(net)))
    assert "group 0 is the same" not in said(torch.optim.AdamW(split(net, betas=(0.9, 0.95))))
    assert "far from equilibrium: the run is 0.0" in said(right, scheduler=plan("cosine", 500))
    late = torchs.StepLR(right, 5, 1e-3)
    assert "in the first tenth of the run" in said(right, scheduler=late, steps=100)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("factor", [0.9, 4.5])
def test_a_decay_below_rounding_is_seen_as_torch_rounds(dtype: torch.dtype, factor: float) -> None:
    share = factor * torch.finfo(dtype).eps / 4
    w = nn.Parameter(torch.linspace(1, 2, 200).to(dtype))
    before = w.detach().clone()
    adamw = torch.optim.AdamW([w], lr=share, weight_decay=1.0, eps=1e-3)
    [group] = read(adamw)
    w.grad = torch.zeros_like(w)
    adamw.step()
    assert bool((w.detach() == before).all()) == any("below the rounding" in text for text in group.warnings)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_keeps_to_its_width(width: int) -> None:
    net = nn.Sequential(*(network() for _ in range(8)))
    shown = table(read(torch.optim.AdamW(split(net)), net=net), width)
    assert all(len(line) <= width for line in shown.splitlines())
    assert shown.splitlines()[0].split() == ["group", "decays", "kind", "tensors", "weights", "names"]


def test_misuse_is_refused_in_one_line() -> None:
    adamw = torch.optim.AdamW([nn.Parameter(torch.ones(2))])
    step = torchs.StepLR(adamw, 3)
    for given, words in (
        ({"scheduler": step}, "scheduler without steps"),
        ({"steps": 5}, "steps without scheduler"),
        ({"scheduler": plan("cosine", 5), "steps": 5}, "steps 5 beside a plan"),
        ({"net": 3}, "net 3: a torch.nn.Module"),
        ({"scheduler": torchs.ReduceLROnPlateau(adamw), "steps": 5}, "ReduceLROnPlateau follows a loss"),
    ):
        with pytest.raises(InputError, match=words):
            read(adamw, **given)  # type: ignore[arg-type]

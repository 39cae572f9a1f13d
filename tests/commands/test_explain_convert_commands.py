"""explain and convert as a user meets them: for people, as data, side by side, and as a picture."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from console import refused, run

from dynamics.couplings import COUPLINGS


def test_explain_for_people_and_as_data() -> None:
    said, data = (
        run("explain", "adam", "--l2", "1e-4"),
        run("explain", "adam", "--lr", "1e-3", "--l2", "1e-4", "--json"),
    )
    assert (said.status, said.err, data.status, data.err) == (0, "", 0, "")
    for text in ("adam with L2 in the gradient: lr 0.001, strength 0.0001", "arXiv 1412.6980", "w <- ", "69,077,550"):
        assert text in said.out
    assert re.search(r"L2 in the gradient +2,72[123] \(simulated\)", said.out)
    found = json.loads(data.out)
    steps = {name: passage["steps"] for name, passage in found["steps_from_1_to_1e_3"].items()}
    assert abs(steps["l2"] - 2722) <= 1
    # ln 1000 / -ln(1 - 1e-7), and the same with 1e-4.
    assert steps["decoupled_lr"] == 69_077_550
    assert steps["decoupled_schedule"] == steps["decoupled_constant"] == 69_075
    assert (found["optimizer"], found["coupling"], found["lr"], found["strength"]) == ("adam", "l2", 1e-3, 1e-4)
    assert found["hyperparameters"] == {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    assert not re.search("NaN|Infinity", data.out)


def test_a_setting_can_be_written_in_several_ways() -> None:
    for one, other in (
        (["adamw lr=1e-2 weight_decay=0.1 betas=0.9,0.95"], "adam --lr 1e-2 --coupling decoupled_lr --strength .1 --beta2 .95"),
        (["sgd", "--l2", "0.1"], "sgd --coupling l2 --strength 0.1"),
    ):  # fmt: skip
        said = run("explain", *one, "--json")
        assert said.status == 0
        assert said == run("explain", *other.split(), "--json")


def test_a_librarys_name_brings_its_decay_and_says_so() -> None:
    line = "weight_decay 0.01 is torch.optim.AdamW's default"
    said, told = run("explain", "AdamW lr=1e-3"), run("explain", "AdamW lr=1e-3", "--weight-decay", "0.01")
    assert "adam with weight decay x lr: lr 0.001, strength 0.01" in said.out
    assert said.out.replace(f"  {line}\n", "") == told.out != said.out
    assert json.loads(run("explain", "AdamW lr=1e-3", "--json").out)["notes"] == [line]
    assert f"note: adam lr=0.001 decoupled_lr=0.01: {line}" in run("explain", "adamw", "sgd").out
    words = ["convert", "--from", "adamw", "--to", "sgdw lr=0.1", "--gradient-rms", "1e-3"]
    assert f"note: {line}" in run(*words).out


def test_several_settings_stand_side_by_side() -> None:
    settings = ("adam l2=1e-3", "adamw weight_decay=0.05", "sgd")
    said = run("explain", *settings, "--gradient-rms", "0.01")
    assert (said.status, said.err) == (0, "")
    names = ["adam lr=0.001 l2=0.001", "adam lr=0.001 decoupled_lr=0.05", "sgd lr=0.1"]
    found = json.loads(run("explain", *settings, "--gradient-rms", "0.01", "--json").out)
    assert [one["setting"] for one in found] == names
    assert all(said.out.count(f"  {name} ") >= 9 for name in names)
    assert "gradients of rms 0.01 at 100%:" in said.out
    assert "warning: adam lr=0.001 l2=0.001: at lr strength / eps = 100" in said.out
    # Flags count for every setting that does not say the same, and a 0 is taken as given.
    found = json.loads(run("explain", "adam lr=0.5", "sgd", "--lr", "0.25", "--l2", "0.125", "--json").out)
    assert [one["setting"] for one in found] == ["adam lr=0.5 l2=0.125", "sgd lr=0.25 l2=0.125"]
    found = json.loads(run("explain", "adam", "--lr", "0", "--beta1", "0", "--l2", "0", "--json").out)
    assert (found["lr"], found["hyperparameters"]["beta1"], found["strength"]) == (0, 0, 0)


def test_explain_over_a_run_with_its_schedule() -> None:
    words = ["--schedule", "cosine", "--steps", "20000", "--steps-per-epoch", "500"]
    said = run("explain", "adamw lr=1e-3 weight_decay=0.1", *words)
    assert (said.status, said.err) == (0, "")
    for text in (
        "Over the run, cosine (torch's CosineAnnealingLR), 20,000 steps:",
        "0.3678 of it is left, 1.44 halvings (closed form)",
        "half of this is done by step 5,295; ",
        "10,000 steps (20 epochs) at the peak",
        "not reached",
    ):
        assert text in said.out
    data = json.loads(run("explain", "adamw lr=1e-3 weight_decay=0.1", *words, "--json").out)["run"]
    assert (data["left"]["half_by"], data["reached"], data["at_peak"]["epochs"]) == (5_295, False, 20)
    both = run("explain", "adamw lr=1e-3 weight_decay=0.1", "sgd lr=0.1 l2=1e-4", *words).out
    assert "left after cosine (torch's CosineAnnealingLR), 20,000 steps:" in both
    assert json.loads(run("explain", "sgd lr=0.1 l2=1e-4", "--json").out)["run"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--steps 5", "steps without schedule"),
        ("--schedule cosine", "without steps"),
        ("--schedule cosin --steps 5", "schedule 'cosin' is unknown"),
        ("--schedule cosine --steps 0", "steps 0: a whole number from 1"),
        ("--schedule cosine --steps x", "--steps 'x': a whole number"),
        ("--schedule cosine --steps 5 --warmup 5", "warmup 5: fewer than the 5 steps"),
        ("--schedule step --steps 5 --final 0.1", "final 0.1: step has none"),
        ("--decay-steps 5", "decay_steps without schedule"),
        ("--schedule trapezoid --steps 5", "trapezoid without decay_steps"),
        ("--schedule trapezoid --steps 5 --warmup 2 --decay-steps 4", "decay_steps 4: a whole number from 1 to 3"),
        ("--schedule cosine --steps 5 --steps-per-epoch 0", "steps_per_epoch 0"),
    ],
)
def test_a_run_that_cannot_be_is_refused(arguments: str, words: str) -> None:
    refused(run("explain", "adamw", *arguments.split()), words)


OWN = """
import torch
from torch import nn

def net_and_optimizer():
    net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    return net, torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.1)

def optimizer():
    return net_and_optimizer()[1]

def number():
    return 3
"""


def test_explain_the_groups_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_groups_of_a_test.py").write_text(OWN, encoding="utf-8")
    own = "own_groups_of_a_test"
    said = run("explain", "--groups", f"{own}:net_and_optimizer")
    assert (said.status, said.err) == (0, "")
    assert "0      yes     norms    2        8        1.weight, 1.bias" in said.out
    assert "2 tensors of norms and 1 tensor of biases decay too" in said.out
    over = ("--schedule", "cosine", "--steps", "20000")
    assert "0.3678 of it is left" in run("explain", "--groups", f"{own}:optimizer", *over).out
    [group] = json.loads(run("explain", "--groups", f"{own}:optimizer", *over, "--json").out)
    assert group["run"]["left"]["half_by"] == 5_295
    for arguments, words in (
        ([], "no SETTING: an optimizer with its numbers is needed"),
        (["adamw", "--groups", f"{own}:optimizer"], "--groups beside a setting"),
        (["--groups", f"{own}:optimizer", "--lr", "1"], "--groups beside a setting"),
        (["--groups", f"{own}:optimizer", "--steps", "5"], "--steps without --schedule"),
        (["--groups", f"{own}:optimizer", "--schedule", "cosine"], "without --steps"),
        (["--groups", f"{own}:number"], "int has no param_groups"),
        (["--groups", f"{own}:nothing"], "--groups own_groups_of_a_test:nothing: failed (AttributeError"),
        (["--groups", "own"], "--groups own: module:function is accepted"),
    ):
        refused(run("explain", *arguments), words)


def test_explain_draws_or_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, words in (
        ("--l2 1e-3 --plot drawn.gif", ["drawn.gif", ".png, .svg, .pdf"]),
        ("--plot drawn.png", ["adam lr=0.001", "settings with a regularizer are accepted"]),
        ("--l2 1e-3 --plot nowhere/drawn.png", ["nowhere/drawn.png", "a writable place is accepted"]),
    ):
        refused(run("explain", "adam", *arguments.split()), *words)
    assert list(tmp_path.iterdir()) == []
    for ending, head in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        file = Path(f"drawn{ending}")
        assert run("explain", "adam l2=1e-3", "adamw weight_decay=0.05", "--plot", file).status == 0
        assert file.read_bytes().startswith(head)
    assert "adam lr=0.001 l2=0.001: " in Path("drawn.svg").read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 3


def test_couplings_of_every_door_are_explained_for_people() -> None:
    # That every rule and coupling can be explained is tested on the answers themselves.
    for optimizer, coupling in (("sgd", "decoupled_lr"), ("nadam", "l2"), ("momentum", "l1"), ("adam", "cautious")):
        said = run("explain", optimizer, "--coupling", coupling, "--strength", "0.01", "--lr", "0.01")
        assert (said.status, said.err) == (0, "")
        assert said.out.startswith(f"{optimizer} with {COUPLINGS[coupling].label}: lr 0.01, strength 0.01")
        assert "  w <- w" in said.out


def test_convert_for_people_and_as_data() -> None:
    words = ["--from", "adam lr=1e-3 l2=1e-4", "--to", "adamw lr=1e-3", "--gradient-rms", "1e-3", "--arrival", "0.1"]
    said, data = run("convert", *words), json.loads(run("convert", *words, "--json").out)
    assert (said.status, said.err) == (0, "")
    assert data["strength"] == pytest.approx(0.316, rel=0.02)
    assert data["target"].startswith("adam lr=0.001 decoupled_lr=0.31")
    assert data["why"] == ""
    for text in ("adam lr=0.001 l2=0.0001  ->  adam lr=0.001 decoupled_lr=0.31", "torch.optim.AdamW", "form: 0.3162"):
        assert text in said.out
    assert re.search(r"simulated: the pull is (1\.00|0\.99)\d\d \[[\d.]+, [\d.]+\] times .*, n = 8 seeds", said.out)
    assert re.search(r"gradient rms +0\.0009\d* to 0\.0011", said.out)


def test_convert_asks_for_the_gradients_only_where_they_count() -> None:
    said = run("convert", "--from", "sgd lr=0.1 l2=5e-4", "--to", "sgd lr=0.1 momentum=0.9")
    assert said.status == 0
    assert "strength 5e-05" in said.out
    assert "under any gradients" in said.out
    refused(
        run("convert", "--from", "adam l2=1e-4", "--to", "adamw"), "gradient rms is needed: the pull of adam with l2"
    )
    refused(
        run("convert", "--from", "adamw", "--to", "sgdw", "--arrival", "0.1"), "--arrival 0.1 without --gradient-rms"
    )


def test_convert_keeps_what_it_is_asked_to_keep() -> None:
    words = ["convert", "--from", "sgd lr=0.1 l2=1e-3", "--to", "sgd lr=0.2", "--gradient-rms", "1"]
    pull, size = run(*words, "--preserve", "pull"), run(*words, "--preserve", "equilibrium")
    assert pull == run(*words)
    assert "strength 0.0005: " in pull.out
    assert "strength 0.002: " in size.out
    assert "the pull is 4.001 times that of the first" in size.out
    assert json.loads(run(*words, "--preserve", "equilibrium", "--json").out)["regimes"] == ["exact", "exact"]
    words[4] = "sgd lr=0.2 coupling=decoupled_constant"
    time = run(*words[:-2], "--preserve", "timescale", "--schedule", "cosine", "--steps", "1000")
    assert "strength 5.005e-05" in time.out
    assert "at the start the pull is 0.5005 times" in time.out
    refused(run(*words, "--schedule", "cosine"), "--schedule cosine: accepted with --preserve timescale")
    refused(run(*words, "--preserve", "equilbrium"), "did you mean 'equilibrium'?")
    refused(run(*words[:-2], "--preserve", "equilibrium"), "the size of the gradients is needed")
    refused(run(*words, "--preserve", "equilibrium", "--weight", "1"), "--weight 1 with --preserve equilibrium")


def test_convert_says_why_there_is_none() -> None:
    said = run("convert", "--from", "adagrad l2=1e-4", "--to", "adamw", "--gradient-rms", "1e-2", "--steps", "4000")
    assert (said.status, said.err) == (0, "")
    assert "no constant strength gives the same pull" in said.out
    assert "falls as 1 / sqrt(t)" in said.out
    assert "from step 250 to 4,000 the best constant is" in said.out

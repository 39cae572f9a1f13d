"""Settings are read as people write them down, written as they are read, and refused in one line."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from properties.draws import hyperparameters

from dynamics.answers.live import read
from dynamics.answers.setting import make, parse, parse_target
from dynamics.couplings import COUPLINGS
from dynamics.errors import InputError
from dynamics.libraries.catalogue import ALIASES, CLASSES
from dynamics.rules import RULES

READ = {
    "adam lr=1e-3 l2=1e-4": "adam lr=0.001 l2=0.0001",
    "AdamW weight_decay=.05 betas=.9,.95": "adam lr=0.001 decoupled_lr=0.05 beta2=0.95",
    "adam weight_decay=0.1": "adam lr=0.001 l2=0.1",
    "adam wd=0.1 amsgrad=true": "amsgrad lr=0.001 l2=0.1",
    "sgd lr=.1 momentum=.9 nesterov=true weight_decay=5e-4": "nesterov lr=0.1 l2=0.0005",
    "sgd momentum=0.9 nesterov=false": "momentum lr=0.1",
    "sgd momentum=0": "sgd lr=0.1",
    "sgd momentum=.9 dampening=0": "momentum lr=0.1",
    "torch.optim.AdamW lr=1e-3 weight_decay=1e-2": "adam lr=0.001 decoupled_lr=0.01",
    "AdamW lr=1e-3": "adam lr=0.001 decoupled_lr=0.01",
    "adamw weight_decay=0": "adam lr=0.001 decoupled_lr=0",
    "adamw coupling=none": "adam lr=0.001",
    "adamw l2=1e-3": "adam lr=0.001 l2=0.001",
    "adam": "adam lr=0.001",
    "muon": "muon lr=0.001",
    "torch.optim.Muon": "muon lr=0.001 decoupled_lr=0.1",
    "torch.optim.SGD momentum=.9 nesterov=True": "nesterov lr=0.001",
    "adam lr = 1e-2 betas = (0.5, 0.75)": "adam lr=0.01 beta1=0.5 beta2=0.75",
    "sgdw momentum=.5 wd=1": "momentum lr=0.1 decoupled_lr=1 momentum=0.5",
    "rmsprop momentum=.9 alpha=.9 eps=1e-3": "rmsprop_momentum lr=0.01 alpha=0.9 eps=0.001",
    "rmsprop centered=true": "rmsprop_centered lr=0.01",
    "lion wd=1": "lion lr=0.0001 decoupled_lr=1",
    "adan betas=(.98,.92,.95) wd=.02": "adan lr=0.001 decoupled_lr=0.02 beta3=0.95",
    "adamc wd=.1": "adam lr=0.001 corrected=0.1",
    "sgd coupling=cautious strength=1": "sgd lr=0.1 cautious=1",
    "muon decoupled_schedule=1e-4": "muon lr=0.001 decoupled_schedule=0.0001",
    "adamwschedulefree wd=.1": "schedule_free lr=0.0025 decoupled_lr=0.1",
}


@pytest.mark.parametrize("text", READ)
def test_read_as_written_in_recipes(text: str) -> None:
    assert str(parse(text)) == READ[text]


@given(data=st.data())
def test_what_is_written_is_read_again(data: st.DataObject) -> None:
    rule, coupling = data.draw(st.sampled_from(list(RULES))), data.draw(st.sampled_from(list(COUPLINGS)))
    numbers = {name: float(f"{value:g}") for name, value in data.draw(hyperparameters(rule)).items()}
    strength = 0.0 if coupling == "none" else 0.25
    setting = make(rule, coupling, lr=0.125, strength=strength, **numbers)
    assert parse(str(setting)) == setting


def test_what_stands_beside_counts_where_the_text_says_nothing() -> None:
    assert str(parse("adam lr=0.5", {"lr": 0.1, "l2": 0.2, "beta2": 0.5})) == "adam lr=0.5 l2=0.2 beta2=0.5"


@pytest.mark.parametrize(
    ("text", "coupling"),
    [
        ("adamw lr=1e-3", "decoupled_lr"),
        ("adam", "l2"),
        ("lion", "decoupled_lr"),
        ("lion l2=3", "l2"),
        ("sgd momentum=.9 coupling=decoupled_schedule", "decoupled_schedule"),
    ],
)
def test_a_target_without_a_strength_has_the_coupling_of_its_library(text: str, coupling: str) -> None:
    assert parse_target(text).coupling.name == coupling


def test_every_alias_is_a_rule_with_a_coupling() -> None:
    for name, named in (*ALIASES.items(), *CLASSES.items()):
        assert parse(f"{name} weight_decay=0.5").rule is RULES[named.rule]
        assert parse(f"{name} weight_decay=0.5").coupling is COUPLINGS[named.coupling]


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_torch_has_the_defaults_that_torch_gives_it(name: str) -> None:
    made = getattr(torch.optim, name.rpartition(".")[2])([torch.nn.Parameter(torch.ones(2, 2))])
    assert str(parse(name)) == read(made)[0].setting


def test_an_alias_has_the_defaults_of_the_library_that_it_names() -> None:
    optax = pytest.importorskip("optax")
    default = inspect.signature(optax.adamaxw).parameters["weight_decay"].default
    assert parse("adamaxw").strength == default
    assert parse("adamaxw").notes == ("weight_decay 0.0001 is optax.adamaxw's default",)
    schedulefree = pytest.importorskip("schedulefree")
    made = schedulefree.AdamWScheduleFree([torch.nn.Parameter(torch.ones(2))])
    assert str(parse("adamwschedulefree")) == read(made)[0].setting


def test_what_a_library_brings_is_said_and_no_part_of_a_comparison() -> None:
    brought = parse("AdamW lr=1e-3")
    assert brought.notes == ("weight_decay 0.01 is torch.optim.AdamW's default",)
    assert brought == parse("adamw lr=1e-3 weight_decay=0.01")
    for text in ("adamw lr=1e-3 weight_decay=0.01", "adam", "sgd", "adamw coupling=none", "torch.optim.SGD lr=0.1"):
        assert parse(text).notes == ()
    assert parse("adamw", {"weight_decay": 0.01}).notes == parse("adamw", {"l2": 0.5}).notes == ()
    assert parse("torch.optim.SGD").notes == ("lr 0.001 is torch.optim.SGD's default",)
    assert parse_target("adamw").notes == ()


def test_nesterov_needs_a_momentum_exactly_where_torch_says_so() -> None:
    for momentum in ("", " momentum=0", " momentum=0.5"):
        value = float(momentum.partition("=")[2] or 0)
        try:
            torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, nesterov=True, momentum=value)
            refused = False
        except ValueError:
            refused = True
        for name in ("sgd", "torch.optim.SGD"):
            try:
                parse(f"{name} nesterov=true{momentum}")
                mine = False
            except InputError:
                mine = True
            assert mine == refused == (momentum != " momentum=0.5")


def test_a_near_name_is_offered() -> None:
    for text, near in (
        ("admw", "adamw"),
        ("torch.optim.RMSprob", "torch.optim.RMSprop"),
        ("SGDD", "sgd"),
        ("adam coupling=decoupled strength=1", "decoupled_lr"),
    ):
        with pytest.raises(InputError, match="; did you mean ") as caught:
            parse(text)
        assert str(caught.value).endswith(f"did you mean {near!r}?")
        assert len(str(caught.value)) <= 600
    with pytest.raises(InputError) as caught:
        parse("lbfgs")
    assert "did you mean" not in str(caught.value)


REFUSED = {
    "": "a name is needed",
    "adm": "optimizer 'adm' is unknown: accepted are sgd, momentum",
    "adam lr": "'lr' in 'adam lr': key=value is accepted",
    "adam lr=": "key=value is accepted",
    "adam lr=fast": "lr 'fast' is no number",
    "adam lr=1 lr=2": "'lr' stands twice",
    "adam l2=1 wd=2": "l2, wd in 'adam l2=1 wd=2': one regularizer is accepted",
    "adam l2=1 coupling=l2 strength=2": "one regularizer is accepted",
    "adam nesterov=true": "adam has no nesterov: momentum, sgd has",
    "adam amsgrad=maybe": "amsgrad 'maybe': true or false is accepted",
    "adam betas=1": "betas 1: 2 numbers",
    "sgd betas=.9,.9": "sgd has none",
    "adam coupling=l2": "coupling l2 without strength",
    "adam strength=1": "strength 1 without coupling: accepted are none, l2",
    "adam coupling=wd strength=1": "coupling 'wd' is unknown",
    "adam foo=1": "adam has no hyperparameter 'foo': it has beta1, beta2, eps",
    "adam l2=-1": "strength -1.0 is out of range",
    "adam beta2=1": "beta2 1.0 is out of range",
    "sgd momentum=x": "momentum 'x' is no number",
    "sgd nesterov=true": "nesterov=true without a momentum: one above 0 is accepted",
    "momentum nesterov=true momentum=0": "nesterov=true without a momentum",
    "sgd momentum=.9 dampening=.1": "dampening .1 of sgd: only dampening=0 is one of the rules here",
    "adam dampening=0": "adam has no hyperparameter 'dampening'",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]*$") as caught:
        parse(text)
    assert REFUSED[text] in str(caught.value)

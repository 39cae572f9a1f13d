"""The stages of the study paper as its protocol has them: learning rates by the rule on stage 1, seeds, epochs."""

from __future__ import annotations

from fullscale.paper.cells import PAIRED, TABLE, Cells
from fullscale.paper.contrasts import BATCHES, task_epochs
from fullscale.paper.kept import kept, stages
from fullscale.paper.rates import OPTIMIZERS, Rates, rates
from fullscale.paper.secondary import rate_for, third
from fullscale.studies import asked


def found() -> Rates:
    return rates(Cells(row for row in kept()["paper-1-rates"].rows if row is not None))


def test_later_stages_have_the_rates_that_the_rule_finds_in_stage_1() -> None:
    chosen = found()
    assert {chosen.edge(optimizer) for optimizer in OPTIMIZERS} == {""}
    every = {optimizer: set(chosen.errors[optimizer]) for optimizer in OPTIMIZERS}
    for study in stages():
        for run in asked(study):
            best, lr = chosen.best(run.spec.optimizer), run.spec.lr
            if study.name in ("paper-1-rates", "paper-2-unregularized", "paper-4-rate"):
                assert lr in every[run.spec.optimizer]
            elif study.name == "paper-2-as-good":
                assert lr in set(chosen.as_good(run.spec.optimizer)) - {best}
            elif study.name == "paper-4-sum":
                assert lr == third(best)
            elif study.name == "paper-4-batch-scaled":
                assert lr == rate_for(best, run.spec.batch)
            else:
                assert lr == best
    of_stage = {study.name: asked(study) for study in stages()}
    for name, optimizers in {"paper-2-unregularized": OPTIMIZERS, "paper-4-rate": ("adam", "sgd", "momentum")}.items():
        for optimizer in optimizers:
            assert {run.spec.lr for run in of_stage[name] if run.spec.optimizer == optimizer} == every[optimizer]
    as_good = {(o, lr) for o in OPTIMIZERS for lr in chosen.as_good(o) if lr != chosen.best(o)}
    assert {(run.spec.optimizer, run.spec.lr) for run in of_stage["paper-2-as-good"]} == as_good


def test_stages_are_alike_but_for_what_they_vary_and_no_seed_of_stage_1_comes_again() -> None:
    for study in stages():
        for run in asked(study):
            assert (run.spec.size, run.spec.held_out, run.spec.model) == (16, 0.1, "basicnet")
            assert (run.spec.seed in (0, 1)) == (study.name == "paper-1-rates")
    seeds = {s.name: {run.spec.seed for run in asked(s)} for s in stages()}
    assert seeds["paper-3-decay"] == seeds["paper-4-batch"] == seeds["paper-5-filters"] == set(PAIRED)
    assert seeds["paper-4-batch-steps"] == seeds["paper-4-rate"] == set(TABLE)
    steps = {run.spec.batch: run.spec.epochs for s in stages() if s.name == "paper-4-batch-steps" for run in asked(s)}
    assert steps == {batch: 12 * batch // 40 for batch in BATCHES}
    tasks = {len(r.spec.classes) or 10: r.spec.epochs for s in stages() if s.name == "paper-4-task" for r in asked(s)}
    assert tasks == {k: task_epochs(k) for k in (2, 5, 10)}

"""A few pictures as they were when somebody looked at them and found them good: `--mpl-generate-path=tests/figures/baseline`
makes them anew."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from matplotlib.figure import Figure

from evidence.claim import Claim, Estimate, above, judge, within
from figures import crossover, phase, verdicts
from figures.style import styled
from synthetic.phase import Phase
from synthetic.selective import Selective

# Made once, read by eye; letters may move by a fraction of a pixel with the font renderer's version.
looked_at = partial(
    pytest.mark.mpl_image_compare, baseline_dir="baseline", tolerance=2, style="default", savefig_kwargs={"dpi": 80}
)


@pytest.fixture(autouse=True)
def in_style() -> Iterator[None]:
    with styled():
        yield


@looked_at()
def test_phase_diagram() -> Figure:
    return phase.draw(Phase(cells=8, seeds=2, steps=3_000).run()).figure


@looked_at()
def test_crossover() -> Figure:
    return crossover.draw(Selective(seeds=3, weights=8).run()).figure


@looked_at()
def test_verdicts() -> Figure:
    rules = [within(0.9, 1.1), above(0.5), above(2.0)]
    findings = []
    for k in range(24):
        sentence = "Filters that nobody excites fall silent first, whatever the optimizer and its learning rate."
        claim = Claim(f"S{k}", sentence, "here", "silence", lambda data: data, rules[k % 3])
        findings.append(judge(claim, Estimate(1.0, 1 - 0.02 * k / 4, 1 + 0.02 * k / 4, 5, "units", "interval")))
    return verdicts.draw(findings).figure

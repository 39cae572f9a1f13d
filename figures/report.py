"""The report: one HTML page that needs no network. Verdicts, numbers and figures come from the data, none is typed in."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from shlex import quote
from typing import Any

import xarray as xr

from evidence.claim import Finding
from evidence.files import write_whole
from evidence.registry import opposed
from figures.style import InlineSvg, label_of
from fullscale.lr_grid import standard_error

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>undertow: report</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1, h2 {{ line-height: 1.2; }} h2 {{ margin-top: 2.5rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .92rem; margin: 1rem 0; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid #ddd; }}
td.number {{ white-space: nowrap; font-variant-numeric: tabular-nums; }}
.holds {{ color: #00664a; font-weight: 600; }} .fails {{ color: #a33d00; font-weight: 600; }}
.undecided {{ color: #555; font-weight: 600; }}
figure {{ margin: 1.5rem 0; }} figure svg {{ max-width: 100%; height: auto; }}
figcaption {{ font-size: .9rem; color: #444; }}
nav ol {{ columns: 2; padding-left: 1.2rem; }} a {{ color: #00558a; }}
td code, small code {{ white-space: normal; overflow-wrap: anywhere; }}
code {{ background: #f3f3f3; padding: .1em .3em; }}
</style></head><body>
<h1>What the regularizer does while the loss looks elsewhere</h1>
<p>Mehta, Kim and Theobalt (2019) report that in CNNs with BatchNorm and ReLU, trained with adaptive optimizers and L2 or
weight decay, whole filters fall silent. This page tests that claim by claim, from one weight to a real CNN. Every verdict
follows by the stated rule from the estimate beside it; a claim that the data refute stays on the page.</p>
{sections}
</body></html>
"""


@dataclass(frozen=True)
class Section:
    """One chapter of the report. part: what `undertow reproduce --only` runs for it; text: a paragraph before all else.

    Claims stand below the picture in which they are seen, the others at the end. data and grid: of CNN runs, if any.
    """

    title: str
    part: str
    findings: list[Finding]
    pictures: list[InlineSvg]
    text: str = ""
    data: xr.Dataset | None = None
    grid: dict[str, Any] | None = None


def write(path: Path, sections: list[Section], summary: InlineSvg | None = None, explorer: str = "") -> None:
    """Write the page to `path`, replacing it in one step; InputError where it cannot be written.

    summary: the map of all claims, which stands first. explorer: the file beside it that holds the explorer, if any.
    """
    findings = [finding for section in sections for finding in section.findings]
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in ("holds", "fails", "undecided")}
    said = ", ".join(f'<span class="{verdict}">{n} {_WORDS[verdict]}</span>' for verdict, n in counts.items())
    parts = [f"<p>Of {len(findings)} claims {said}.</p>"] if findings else []
    if explorer:
        parts.append(
            f'<p>To turn the knobs yourself: <a href="{escape(explorer)}">the explorer</a>, which runs the same rules.</p>'
        )
    parts.append(_contents(sections))
    parts += [_figure(summary)] if summary else []
    parts += [_section(section) for section in sections]
    write_whole(path, _PAGE.format(sections="\n".join(parts)).encode())


_WORDS = {"holds": "hold", "fails": "fail", "undecided": "undecided"}


def _anchor(title: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in title.lower())


def _contents(sections: list[Section]) -> str:
    entries = "".join(f'<li><a href="#{_anchor(s.title)}">{escape(s.title)}</a></li>' for s in sections)
    return f"<nav><ol>{entries}</ol></nav>"


def _section(section: Section) -> str:
    parts = [f'<h2 id="{_anchor(section.title)}">{escape(section.title)}</h2>']
    parts += [f"<p>{escape(section.text)}</p>"] if section.text else []
    names = {picture.name for picture in section.pictures}
    for picture in section.pictures:
        parts.append(_figure(picture))
        parts.append(_claims([f for f in section.findings if f.claim.figure == picture.name]))
    parts.append(_claims([f for f in section.findings if f.claim.figure not in names]))
    if section.data is not None:
        parts.append(_removal(section.data))
    if section.grid is not None:
        parts.append(_grid(section.grid))
    parts.append(f"<p>Again: <code>undertow reproduce --only {section.part} --fresh</code></p>")
    return "\n".join(part for part in parts if part)


def _claims(findings: list[Finding]) -> str:
    if not findings:
        return ""
    rows = "".join(_claim(f) for f in findings)
    head = "<tr><th>Claim</th><th>Sentence</th><th>Estimate</th><th>Verdict</th></tr>"
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def _claim(f: Finding) -> str:
    formula = f"<br><code>{escape(f.claim.formula)}</code>" if f.claim.formula else ""
    formula += "".join(f"<br>Against it: {escape(other.id)}, {escape(other.sentence)}" for other in opposed(f.claim))
    return (
        f"<tr><td>{escape(f.claim.id)}</td><td>{escape(f.claim.sentence)}{formula}<br><small>{escape(f.claim.source)}</small></td>"
        f"<td>{escape(f.estimate.in_words())}<br><small>holds if: {escape(f.holds_if)}<br>"
        f"<code>undertow claims {escape(quote(f.claim.id))} --why</code></small></td>"
        f'<td class="{f.verdict}">{f.verdict}</td></tr>'
    )


def _figure(picture: InlineSvg) -> str:
    svg = picture.svg[picture.svg.index("<svg") :].replace(
        "<svg", f'<svg role="img" aria-label="{escape(picture.alt)}"', 1
    )
    # Several figures on one page: their inner references must not meet.
    for mark in ('id="', 'href="#', "url(#"):
        svg = svg.replace(mark, f"{mark}{picture.name}-")
    return f'<figure id="figure-{picture.name}">{svg}<figcaption>{escape(picture.caption)}</figcaption></figure>'


def _removal(data: xr.Dataset) -> str:
    """What was removed and what the certificates say, one row a cell; means over seeds, largest differences."""
    head = (
        "<tr><th>Optimizer</th><th>L2</th><th>lr</th><th>Inactive by activation / by scale</th><th>Removed</th>"
        "<th>Parameters, multiply-adds left</th><th>Test error before, after</th><th>Largest output difference: test, random"
        "</th></tr>"
    )
    rows = []
    for name in data.optimizer.values:
        for strength in data.strength.values:
            cell = data.sel(optimizer=name, strength=strength)
            mean = cell.isel(epoch=-1).mean("seed")
            largest = cell[["difference", "noise_difference"]].max()
            values = (
                label_of(str(name)),
                f"{strength:g}",
                f"{float(cell.lr):g}",
                f"{float(mean.inactive_by_activation):.1%} / {float(mean.inactive_by_scale):.1%}",
                f"{float(mean.removed):.1%}",
                f"{float(mean.parameters):.1%}, {float(mean.multiply_adds):.1%}",
                f"{float(mean.error_before):.2%}, {float(mean.error_after):.2%}",
                f"{float(largest.difference):.1e}, {float(largest.noise_difference):.1e}",
            )
            rows.append("<tr>" + "".join(f'<td class="number">{escape(v)}</td>' for v in values) + "</tr>")
    text = (
        "<h3>Dead filters removed, with a certificate</h3><p>Filters that put out 0 for every input, constants (folded into "
        "the next layer) and filters that no training image excites are taken out of each network. The certificate is the "
        f"largest difference of any output, on the test images and on random ones. Means over {data.sizes['seed']} seeds.</p>"
    )
    return f'{text}<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _grid(found: dict[str, Any]) -> str:
    """The learning-rate grid behind the CNN runs, one row a cell, the chosen ones marked."""
    head = "<tr><th>Optimizer</th><th>lr</th><th>Validation accuracy</th><th>Loss</th><th>Inactive</th><th></th></tr>"
    rows = []
    for cell in found["cells"]:
        values = (
            label_of(cell["optimizer"]),
            f"{cell['lr']:g}",
            f"{cell['accuracy']:.2%} &plusmn; {standard_error(cell):.2%}",
            f"{cell['loss']:.3f}",
            f"{cell['inactive_by_activation']:.1%}",
            "chosen" if found["chosen"][cell["optimizer"]]["lr"] == cell["lr"] else "",
        )
        rows.append("<tr>" + "".join(f'<td class="number">{v}</td>' for v in values) + "</tr>")
    spec = found["spec"]
    text = (
        "<h3>How the learning rates were chosen</h3><p>Best mean validation accuracy (of equals, the lower loss) under L2 "
        f"{spec['strength']:g}, n = {len(spec['seeds'])} seeds, each with a validation part of its own; &plusmn; one standard "
        "error. Strength and length of the runs were chosen by looking at where sparsity emerges at this size, so its level "
        "is that of a demonstration; and rates whose accuracy cannot be told apart differ in sparsity, as the table shows.</p>"
    )
    return f'{text}<div class="scroll"><table>{head}{"".join(rows)}</table></div>'

"""The report: one HTML page that needs no network. Verdicts, numbers and figures come from the data, none is typed in."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from shlex import quote

from evidence import registry
from evidence.claim import Finding
from evidence.files import write_whole
from figures.paper import PAPER
from figures.paper_table import Answer, Cell, Line, lines
from figures.story import picture_of
from figures.style import InlineSvg


@dataclass(frozen=True)
class Section:
    """One chapter of the report. part: what `undertow reproduce --only` runs for it; text: a paragraph before all else.

    Claims stand below the picture in which they are seen, the others at the end, and then tables, as HTML (`figures.report_runs`).
    """

    title: str
    part: str
    findings: list[Finding]
    pictures: list[InlineSvg]
    text: str = ""
    tables: Sequence[str] = ()


def write(
    path: Path, sections: list[Section], summary: InlineSvg | None = None, explorer: str = "", part: bool = False
) -> None:
    """Write the page to `path`, replacing it in one step; InputError where it cannot be written.

    The paper's claims come first, then the sections, then all claims behind a fold. summary: the map of all claims. explorer: the
    file beside it that holds the explorer, if any. part: of the experiments only some were run; the rest is then left out.
    """
    numbered = list(enumerate(sections, 1))
    findings = [finding for section in sections for finding in section.findings]
    parts = [_paper(numbered, part), _score(findings)]
    if explorer:
        parts.append(
            f'<p>To turn the knobs yourself: <a href="{escape(explorer)}">the explorer</a>, which runs the same rules.</p>'
        )
    parts.append(_contents(numbered))
    parts += [_section(n, section) for n, section in numbered]
    parts.append(_fold(numbered, summary, part))
    script = _beside("report.js")
    digest = b64encode(sha256(f"\n{script}\n".encode()).digest()).decode()
    page = _beside("report.html").replace("<!--HASH-->", f"sha256-{digest}").replace("<!--SCRIPT-->", script)
    # Last, for what stands in the data is no mark of the page.
    write_whole(path, page.replace("<!--SECTIONS-->", "\n".join(part for part in parts if part)).encode())


_WORDS = {"holds": "hold", "fails": "fail", "undecided": "undecided"}


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _anchor(title: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in title.lower())


def _verdict(verdict: str) -> str:
    return f'<b class="verdict {verdict}">{verdict}</b>'


def _score(findings: list[Finding]) -> str:
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in _WORDS}
    said = ", ".join(f'<span class="{verdict}">{n} {_WORDS[verdict]}</span>' for verdict, n in counts.items())
    told = 'A claim that the data refute stays on the page; <a href="#all">all of them</a> stand behind a fold, with a search.'
    return f"<p>Of {len(findings)} claims {said}. {told}</p>" if findings else ""


def _paper(numbered: list[tuple[int, Section]], part: bool) -> str:
    """The table of the paper's claims; where only a part was run, of those that it bears on."""
    places = {f.claim.id: (n, _place(f, section)) for n, section in numbered for f in section.findings}
    found = {f.claim.id: (f.verdict, f.estimate) for _, section in numbered for f in section.findings}
    table = lines(found, found if part else {*registry.CLAIMS, *found})
    table = [line for line in table if line.answers or not part]
    if not table:
        return ""
    rows = "".join(_row(line, places, part) for line in table)
    head = "<tr><th>Claim</th><th>What the paper says</th><th>Toy worlds</th><th>Real CNN</th></tr>"
    text = (
        "<p>Each verdict follows by a stated rule from the number beside it. Brackets: 95% interval, where several are judged at "
        "once 95% for all of their verdicts together; a star marks one from the smallest sample to the largest. A claim holds if "
        "its whole interval fulfils the rule, fails if none of it does (or one sample, where every sample is claimed), and is "
        "undecided in between. To kill a filter is to silence it on every training image.</p>"
    )
    return f'{text}<table class="paper"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _row(line: Line, places: dict[str, tuple[int, str]], part: bool) -> str:
    row = line.row
    seen: dict[int, str] = {}
    for n, at in (places[answer.shown.id] for answer in line.answers if answer.verdict):
        if at.startswith("figure-") > seen.get(n, "").startswith("figure-") or n not in seen:
            seen[n] = at
    links = ", ".join(f'<a href="#{at}">chapter {n}</a>' for n, at in seen.items())
    cells = "".join(
        f'<td data-head="{head}">{_cell(cell, part)}</td>'
        for head, cell in (("Toy worlds", line.toy), ("Real CNN", line.cnn))
    )
    return (
        f'<tr id="paper-{row.id}"><th scope="row"><b>{row.id}</b> {escape(row.short)} <span class="quiet">{links}</span></th>'
        f'<td class="says">{escape(row.says)}<br><code>{escape(row.formula)}</code></td>{cells}</tr>'
    )


def _cell(cell: Cell, part: bool) -> str:
    said = [_answer(answer) for answer in cell.answers]
    if cell.untested and not part:
        said.append(f'<b class="verdict untested">not tested</b> <span class="label">{escape(cell.untested)}</span>')
    return f"<ul>{''.join(f'<li>{one}</li>' for one in said)}</ul>" if said else ""


def _answer(answer: Answer) -> str:
    shown = answer.shown
    against = f' <span class="against">{answer.against}</span>' if answer.against else ""
    told = "".join(
        f' <span class="{name}">{escape(text)}</span>'
        for name, text in (("data", shown.data), ("label", shown.label))
        if text
    )
    if not answer.verdict:
        return f'<b class="verdict untested">{answer.number}</b>{told}'
    number = f'<a class="number" href="#claim-{_anchor(shown.id)}">{escape(_together(answer.number))}</a>'
    return f"{_verdict(answer.verdict)}{against}{told} {number}"


def _together(number: str) -> str:
    """The same with blanks at which no line breaks, within an interval and from n on."""
    return re.sub(r"\[[^]]*\]|n = [^;]*", lambda part: part[0].replace(" ", "\u00a0"), number)


def _contents(numbered: list[tuple[int, Section]]) -> str:
    entries = "".join(f'<li><a href="#{_anchor(s.title)}">{escape(s.title)}</a></li>' for _, s in numbered)
    return f"<nav><ol>{entries}</ol></nav>"


def _place(f: Finding, section: Section) -> str:
    """The anchor of the picture in which a claim is seen, or of its chapter."""
    seen = f.claim.figure or picture_of(f.claim.experiment)
    return f"figure-{seen}" if seen in {p.name for p in section.pictures} else _anchor(section.title)


def _section(n: int, section: Section) -> str:
    parts = [f'<h2 id="{_anchor(section.title)}"><span class="n">{n}</span> {escape(section.title)}</h2>']
    parts += [f"<p>{escape(section.text)}</p>"] if section.text else []
    told = {
        place: [f for f in section.findings if _open(f) and _place(f, section) == place] for place in _places(section)
    }
    for picture in section.pictures:
        parts += [_figure(picture), _short(told[f"figure-{picture.name}"])]
    parts.append(_short(told[_anchor(section.title)]))
    parts += section.tables
    link = f'<a href="#claims-{_anchor(section.title)}">All {len(section.findings)} claims of this chapter</a>. '
    again = f"Again: <code>undertow reproduce --only {section.part} --fresh</code>"
    parts.append(f'<p class="quiet">{link if section.findings else ""}{again}</p>')
    return "\n".join(part for part in parts if part)


def _places(section: Section) -> list[str]:
    return [*(f"figure-{picture.name}" for picture in section.pictures), _anchor(section.title)]


_TOLD = {one.id for row in PAPER for one in row.toy + row.cnn}


def _open(f: Finding) -> bool:
    """Whether a claim stands in its chapter: those of the paper's table and those of a user's own file."""
    experiment = registry.EXPERIMENTS.get(f.claim.experiment)
    return f.claim.id in _TOLD or (experiment is not None and experiment.file != "")


def _short(findings: list[Finding]) -> str:
    rows = "".join(
        f'<li>{_verdict(f.verdict)}<div><p>{escape(f.claim.sentence)}</p><p class="number">{escape(f.estimate.in_words())} '
        f'<a href="#claim-{_anchor(f.claim.id)}">{escape(f.claim.id)}</a></p></div></li>'
        for f in findings
    )
    return f'<ul class="claims">{rows}</ul>' if rows else ""


def _fold(numbered: list[tuple[int, Section]], summary: InlineSvg | None, part: bool) -> str:
    """All claims by chapter, closed unless only a part was run, and the map of them."""
    groups = "".join(
        f'<section id="claims-{_anchor(s.title)}"><h3>{n} {escape(s.title)}</h3>'
        f'<ul class="claims">{"".join(_claim(f) for f in s.findings)}</ul></section>'
        for n, s in numbered
        if s.findings
    )
    if not groups:
        return ""
    count = sum(len(s.findings) for _, s in numbered)
    search = (
        '<div class="search"><label for="search">Search</label><input type="search" id="search" placeholder="momentum fails">'
        '<output id="shown" for="search"></output></div>'
    )
    picture = f"<h3>The map of all claims</h3>{_figure(summary)}" if summary else ""
    return (
        f'<details id="all"{" open" if part else ""}><summary>All {count} claims, with rules and sources</summary>'
        f"{search}{groups}{picture}</details>"
    )


def _claim(f: Finding) -> str:
    formula = f"<code>{escape(f.claim.formula)}</code><br>" if f.claim.formula else ""
    formula += "".join(f"Against it: {escape(o.id)}, {escape(o.sentence)}<br>" for o in registry.opposed(f.claim))
    return (
        f'<li id="claim-{_anchor(f.claim.id)}">{_verdict(f.verdict)}<div><p>{escape(f.claim.sentence)}</p>'
        f'<p class="number">{escape(f.estimate.in_words())}</p><p class="more">{formula}holds if: {escape(f.holds_if)}<br>'
        f"{escape(f.claim.source)}; <code>undertow claims {escape(quote(f.claim.id))} --why</code></p></div></li>"
    )


def _figure(picture: InlineSvg) -> str:
    svg = picture.svg[picture.svg.index("<svg") :]
    width = re.search(r'width="([\d.]+pt)"', svg)
    natural = f' style="--natural: {width[1]}"' if width else ""
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(picture.alt)}"{natural}', 1)
    # Several figures on one page: their inner references must not meet.
    for mark in ('id="', 'href="#', "url(#"):
        svg = svg.replace(mark, f"{mark}{picture.name}-")
    return (
        f'<figure id="figure-{picture.name}"><p class="swipe">Wider than the screen: swipe sideways.</p><div class="frame" '
        f'tabindex="0">{svg}</div><figcaption>{escape(picture.caption)}</figcaption></figure>'
    )

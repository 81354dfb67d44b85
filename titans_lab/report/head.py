"""The head of the page: the verdict, and what the study cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from titans_lab.quantities import plural
from titans_lab.report import per_study, provenance, words
from titans_lab.report.arms import Design
from titans_lab.report.data import Material
from titans_lab.report.format import join
from titans_lab.report.section import Section

SHOWN = 3  # the most ids of runs in a sentence


@dataclass(frozen=True)
class Head:
    """The head of the page, above the sections.

    Attributes:
        verdict: The answer to the study's question.
        progress: The number of runs in each state.
        findings: The findings that support the verdict, in sentences.
        cost: The figures of the cost, each with its description.
        former: A sentence about runs that are not of the study any more; or "".
    """

    verdict: str
    progress: str
    findings: tuple[str, ...]
    cost: tuple[tuple[str, str], ...]
    former: str


def head(material: Material, design: Design, sections: Sequence[Section]) -> Head:
    """Return the head of the page about a study, or about several with a section each."""
    several = per_study.several(material)
    return Head(
        verdict=f"{plural(len(sections), 'study', 'studies')}, each with its answer below."
        if several
        else words.answer(material, design, sections),
        progress=words.progress(material),
        findings=tuple(
            [f"{section.title}: {section.answer}" for section in sections]
            if several
            else filter(None, words.findings(material, design, sections))
        ),
        cost=tuple(provenance.cost(material)),
        former=_former(material.study.former),
    )


def _former(ids: tuple[str, ...]) -> str:
    if not ids:
        return ""
    runs, verb = plural(len(ids), "run"), "is" if len(ids) == 1 else "are"
    return (
        f"{runs} of the last sweep {verb} no longer part of this study and not in this report: {join(ids, SHOWN + 1)}."
    )

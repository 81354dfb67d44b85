"""The page over a whole store: each study in a section of its own, with its question and its answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from titans_lab.report import differences, effects, words
from titans_lab.report.arms import Design, arrange
from titans_lab.report.data import Material, material_from
from titans_lab.report.final_score import final_score
from titans_lab.report.section import Section
from titans_lab.report.subject import of_swept, swept
from titans_lab.report.tables import arm_table
from titans_lab.run.values import STUDY


def several(material: Material) -> bool:
    """Return whether the page is about more than one study, whose scores need not compare."""
    return material.study.kind == "store" and STUDY in material.study.factors


def sections(material: Material) -> Iterator[Section]:
    """Yield a section for each study of the page."""
    snapshot, drawn = material.evidence.snapshot, material.study.drawn
    shown = {outcome.run.run_id for outcome in material.outcomes}
    for place, name in enumerate(swept(snapshot)):
        whole = of_swept(name, snapshot)
        study = replace(whole, drawn=drawn, runs=tuple(run for run in whole.runs if run.run_id in shown))
        if study.runs:
            part = material_from(study, material.evidence, f"-study-{place}")
            yield _section(part, arrange(study, part.outcomes), f"study-{place}")


def _section(part: Material, design: Design, name: str) -> Section:
    """Return the section of a study: its answer, every seed, and the table of its arms."""
    built = list(filter(None, [effects.section(part, design)]))
    queries, figure = (f"runs-{name}",), final_score(part, design)
    compared = differences.compare_arms(design, part.metric)
    return Section(
        name=name,
        title=part.study.name,
        evidence=queries,
        caption=words.progress(part),
        figure=figure and replace(figure, name=f"{name}-score", queries=queries),
        table=arm_table(design, part.metric, differences.better(compared)),
        question=part.study.question,
        answer=words.answer(part, design, built),
    )

"""The sections of the page, in its order. A new one is a function here: see CONTRIBUTING.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from titans_lab.report import (
    across_tasks,
    differences,
    effects,
    lengths,
    memory,
    needle,
    paper_agreement,
    paper_tables,
    per_study,
    perplexity,
    positions,
    scaling,
    search,
    side_by_side,
    speed,
    tradeoffs,
)
from titans_lab.report.arms import Design
from titans_lab.report.curves import learning_curves
from titans_lab.report.data import Material
from titans_lab.report.final_score import final_score
from titans_lab.report.forest import forest
from titans_lab.report.section import Section, drawn
from titans_lab.report.tables import arm_table

Built = Section | Iterable[Section] | None


def sections(material: Material, design: Design) -> list[Section]:
    """Return every section that this study has data for."""
    if per_study.several(material):
        return list(per_study.sections(material))
    return [section for build in SECTIONS for section in _listed(build(material, design))]


def _listed(built: Built) -> Iterable[Section]:
    if built is None:
        return ()
    return (built,) if isinstance(built, Section) else built


def _arms(material: Material, design: Design) -> Section | None:
    metric = material.metric
    caption = (
        f"{metric.name.capitalize()} in {metric.unit} over the finished seeds; bold arms are better than the baseline "
        "by the verdict. ± is half of the 95 % t interval, not adjusted for the number of arms. Tokens/s and wall time "
        "are means over the seeds; "
        "peak memory is their largest. Writes off is the mean with all writes to memories and recurrences switched off "
        "at test time: where it equals the mean, the memory is not used."
    )
    table = arm_table(design, metric, differences.better(differences.compare_arms(design, metric)))
    return Section("arms", "Arms", ("runs",), caption, table=table) if table.rows else None


def _forest(material: Material, design: Design) -> Section | None:
    compared = differences.compare_arms(design, material.metric)
    return drawn(forest(material, design), differences.table(compared, design, material.metric) if compared else None)


SECTIONS: tuple[Callable[[Material, Design], Built], ...] = (
    lambda material, design: drawn(final_score(material, design)),
    effects.section,
    _forest,
    _arms,
    across_tasks.section,
    search.sections,
    scaling.sections,
    lambda material, design: drawn(learning_curves(material, design)),
    positions.section,
    perplexity.section,
    lengths.sections,
    needle.section,
    memory.sections,
    lambda _, design: drawn(speed.throughput(design)),
    lambda _, design: [figure for key in speed.SIZES if (figure := drawn(speed.throughput_by(key, design)))],
    lambda material, design: drawn(tradeoffs.against(tradeoffs.SPEED, design, material.metric)),
    lambda material, design: drawn(tradeoffs.against(tradeoffs.MEMORY, design, material.metric)),
    lambda material, design: drawn(side_by_side.side_by_side(material, design), side_by_side.table(material, design)),
    paper_agreement.section,
    paper_tables.sections,
)

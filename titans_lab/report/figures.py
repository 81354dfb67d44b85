"""The figures of the page, in its order."""

from __future__ import annotations

from titans_lab.report.arms import Design
from titans_lab.report.curves import learning_curves
from titans_lab.report.data import Material
from titans_lab.report.final_score import final_score
from titans_lab.report.forest import forest
from titans_lab.report.plot import Figure
from titans_lab.report.speed import score_against_throughput, throughput


def figures(material: Material, design: Design) -> list[Figure]:
    """Every figure that there is something to draw for."""
    drawn = (
        final_score(material, design),
        forest(material, design),
        learning_curves(material, design),
        throughput(design),
        score_against_throughput(design, material.measure),
    )
    return [figure for figure in drawn if figure is not None]

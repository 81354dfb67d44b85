"""A study as one HTML page that opens without a network: plotly.js, figures, styles and script are all in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import titans_lab
from titans_lab.errors import UserError
from titans_lab.output import write_output
from titans_lab.report import head, plot, provenance, runs, tables
from titans_lab.report.arms import PALETTE, Design, arrange
from titans_lab.report.data import Material, material
from titans_lab.report.section import Section
from titans_lab.report.sections import sections
from titans_lab.report.subject import Subject, of_runs, of_store, of_study

if TYPE_CHECKING:
    from titans_lab.store.query import Snapshot
    from titans_lab.study.study import Run, Study

HERE = Path(__file__).parent
DIGITS = 7  # of a number in a figure


@dataclass(frozen=True)
class Report:
    """What a report says, in no format yet.

    Attributes:
        material: What the store holds.
        design: The arms.
        sections: In the order of the page.
    """

    material: Material
    design: Design
    sections: tuple[Section, ...]


def report(study: Subject, snapshot: Snapshot) -> Report:
    """The report on a study, from what a store holds of it."""
    found = material(study, snapshot)
    design = arrange(study, found.outcomes)
    return Report(found, design, tuple(sections(found, design)))


def study_report(study: Study, runs: Sequence[Run], root: Path) -> Report:
    """Of `runs` of a study file, from the store at `root`."""
    from titans_lab.store.query import Snapshot

    snapshot = Snapshot(root)
    return report(of_study(study, runs, snapshot), snapshot)


def store_report(root: Path) -> Report:
    """Of all studies that were swept into the store at `root`."""
    from titans_lab.store.query import Snapshot

    snapshot = Snapshot(root)
    return report(of_store(snapshot), snapshot)


def runs_report(ids: Sequence[str], root: Path) -> Report:
    """Of some runs beside each other, by their ids, from the store at `root`."""
    from titans_lab.store.query import Snapshot

    snapshot = Snapshot(root)
    return report(of_runs(ids, snapshot), snapshot)


def write(content: str | bytes, output: Path) -> Path:
    """Into the file `output`, all of it or nothing; `UserError` if it cannot be written."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); name another file") from error
    write_output(output, content if isinstance(content, bytes) else content.encode(errors="replace"))
    return output


def render(study: Study, runs: Sequence[Run], root: Path) -> str:
    """The page about `runs` of `study`, from what the store at `root` holds now; equal stores give equal pages."""
    return page(study_report(study, runs, root))


def page(told: Report) -> str:
    """The report as HTML."""
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "sort_keys": False}
    return environment.get_template("template.html").render(_parts(told), plotly=get_plotlyjs())


def _rounded(value: Any) -> Any:
    """To more digits than a screen can show: the exact values are in the evidence."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def versions() -> list[str]:
    """What decides how a page looks, given the store."""
    import plotly

    return [f"titans-lab {titans_lab.__version__}", f"plotly {plotly.__version__}"]


def _parts(told: Report) -> dict[str, Any]:
    found, design = told.material, told.design
    figures = [section.figure for section in told.sections if section.figure]
    return {
        "study": found.study,
        "head": head.head(found, design),
        "sections": told.sections,
        "colours": plot.TONES | {f"arm-{index}": pair for index, pair in enumerate(PALETTE)},
        "runs": runs.run_table(found, design),
        "base": runs.base_lines(found.study),
        "troubles": tables.troubles(design),
        "missing": tables.missing(design),
        "origins": provenance.origins(found),
        "warnings": provenance.warnings(found),
        "data_note": provenance.data_note(found),
        "drawing": {
            "figures": {figure.name: _rounded(figure.drawing) for figure in figures},
            "config": plot.CONFIG,
            "dark": plot.dark_colours(),
        },
        "evidence": {
            "version": versions(),
            "study": found.study.record,
            "statements": found.evidence.records(),
        },
    }

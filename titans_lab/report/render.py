"""A study as one HTML page that opens without a network: plotly.js, figures, styles and script are all in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_lab.environment import library_version
from titans_lab.errors import UserError
from titans_lab.output import write_output
from titans_lab.report import head, plot, provenance, runs, tables, words
from titans_lab.report.arms import PALETTE, Design, arrange
from titans_lab.report.bundle import PLOTLY_VERSION, SHARED, plotly_js
from titans_lab.report.data import Material, material
from titans_lab.report.section import Section
from titans_lab.report.sections import sections
from titans_lab.report.subject import Subject, of_runs, of_store, of_study
from titans_lab.store.store import Store
from titans_lab.version import __version__

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from titans_lab.run.run import Run
    from titans_lab.store.query import Snapshot
    from titans_lab.study.study import Study

HERE = Path(__file__).parent
DIGITS = 7  # significant digits of a number in a figure
#: Libraries that numbers on the page go through, the rooms of our own code that they do, and its kinds of files.
LIBRARIES = ("numpy", "scipy", "duckdb")
ROOMS = ("report", "paper", "scaling", "stats", "study")
SUFFIXES = (".py", ".html", ".css", ".js")


@dataclass(frozen=True)
class Report:
    """The content of a report, independent of the format.

    Attributes:
        material: The data from the store.
        design: The arms.
        sections: The sections, in the order of the page.
    """

    material: Material
    design: Design
    sections: tuple[Section, ...]

    @property
    def summary(self) -> tuple[str, ...]:
        """Return what the report says first: the verdict, the progress and the findings."""
        top = head.head(self.material, self.design, self.sections)
        return top.verdict, top.progress, *top.findings

    @property
    def figures(self) -> dict[str, go.Figure]:
        """Return each figure as one of plotly's, by the name of its section.

        Raises:
            UserError: plotly is not installed.
        """
        return {section.name: section.figure.plotly() for section in self.sections if section.figure}


def report(study: Subject, snapshot: Snapshot) -> Report:
    """Return the report on a subject, from what a store holds of it."""
    found = material(study, snapshot)
    design = arrange(study, found.outcomes)
    return Report(found, design, tuple(sections(found, design)))


def study_report(study: Study, runs: Sequence[Run], root: Path) -> Report:
    """Return the report on `runs` of a study file, from the store at `root`."""
    from titans_lab.store.query import Snapshot

    snapshot = Snapshot(root)
    return report(of_study(study, runs, snapshot), snapshot)


def recorded_report(study: Study, runs: Sequence[Run], root: Path) -> Report:
    """Return the report on `runs` of a study file, of which the store has something. Raise UserError otherwise."""
    drawn = study_report(study, runs, root)
    if drawn.material.empty and not words.searched(drawn.material) and not drawn.material.speeds:
        raise UserError(_nothing(drawn.material.study, root))
    return drawn


def _nothing(subject: Subject, root: Path) -> str:
    """Return that a report would be empty, and which variants of the study the store has."""
    known = [path.stem for path in Store(root).study_paths() if path.stem.split("--")[0] == subject.family]
    others = f"; the store has {', '.join(sorted(known))}: give report the overrides of that sweep" if known else ""
    return f"{subject.name}: no run of this study is in the store at {root}; sweep it first{others}"


def store_report(root: Path) -> Report:
    """Return the report on all studies that were swept into the store at `root`."""
    from titans_lab.store.query import Snapshot

    snapshot = Snapshot(root)
    return report(of_store(snapshot), snapshot)


def runs_report(ids: Sequence[str], root: Path) -> Report:
    """Return the report that compares runs, by their ids, from the store at `root`."""
    from titans_lab.store.query import Snapshot

    snapshot = Snapshot(root)
    return report(of_runs(ids, snapshot), snapshot)


def write(content: str | bytes, output: Path) -> Path:
    """Write the file `output` in full or not at all. Raise `UserError` if it cannot be written."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); name another file") from error
    write_output(output, content if isinstance(content, bytes) else content.encode(errors="replace"))
    return output


def render(study: Study, runs: Sequence[Run], root: Path) -> str:
    """Return the page about `runs` of `study`, from what the store at `root` holds now."""
    return page(study_report(study, runs, root))


def page(report: Report, shared: bool = False) -> str:
    """Return the report as HTML.

    Args:
        report: The report.
        shared: Whether plotly.js is not on the page but in the file `SHARED` beside the page's folder, for several
            pages.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = zip
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "sort_keys": False}
    script = {"plotly": "" if shared else plotly_js(), "source": SHARED if shared else ""}
    return environment.get_template("template.html").render(_parts(report), **script)


def versions() -> dict[str, str]:
    """Return the versions, and a digest of the sources, that decide the bytes of a page for a given store."""
    installed = {name: library_version(name) or "unknown" for name in LIBRARIES}
    return {"titans-lab": f"{__version__} (sources {_digest()})", "plotly.js": PLOTLY_VERSION} | installed


def _digest() -> str:
    """Return eight hexadecimal digits over the rooms whose code decides what a page says."""
    package, found = HERE.parent, hashlib.sha256()
    for path in sorted(path for room in ROOMS for path in (package / room).rglob("*")):
        if path.suffix in SUFFIXES:
            found.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:8]


def _rounded(value: Any) -> Any:
    """Return numbers with more digits than a screen can show. The evidence has the exact values."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list | tuple) else value


def _parts(report: Report) -> dict[str, Any]:
    found, design = report.material, report.design
    figures = [section.figure for section in report.sections if section.figure]
    return {
        "study": found.study,
        "head": head.head(found, design, report.sections),
        "sections": report.sections,
        "colours": plot.TONES | {f"arm-{index}": pair for index, pair in enumerate(PALETTE)},
        "runs": runs.run_table(found, design),
        "base": runs.base_lines(found.study),
        "troubles": tables.troubles(design),
        "missing": () if words.searched(found) else tables.missing(design),
        "origins": provenance.origins(found),
        "warnings": provenance.warnings(found),
        "data_note": provenance.data_note(found),
        "origin": {"selection": found.study.selection.record, "versions": versions()},
        "drawings": {figure.name: _rounded(figure.drawing) for figure in figures},
        "settings": {"config": plot.CONFIG, "dark": plot.dark_colours()},
        "statements": {name: statement.record for name, statement in found.evidence.statements.items()},
    }

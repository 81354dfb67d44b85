"""A study as one HTML page that opens without a network: plotly.js, figures, styles and script are all in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from titans_lab.errors import UserError
from titans_lab.report import beside_paper, differences, plot, provenance, side_by_side, tables, words
from titans_lab.report.arms import PALETTE, arrange
from titans_lab.report.data import Material, gather
from titans_lab.report.figures import figures
from titans_lab.store.files import write_bytes

if TYPE_CHECKING:
    from titans_lab.study.study import Run, Study

HERE = Path(__file__).parent


def write_report(study: Study, runs: list[Run], root: Path, output: Path) -> Path:
    """`render` into the file `output`, all of it or nothing; `UserError` if it cannot be written."""
    page = render(study, runs, root)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(output, page.encode(errors="replace"))
    except OSError as error:
        raise UserError(f"{output}: cannot write the report there ({error.strerror}); name another file") from error
    return output


def render(study: Study, runs: list[Run], root: Path) -> str:
    """The page about `runs` of `study`, from what the store at `root` holds now; equal stores give equal pages."""
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    page = _page(gather(study, runs, root))
    return environment.get_template("template.html").render(page, plotly=get_plotlyjs())


def _page(material: Material) -> dict[str, Any]:
    design = arrange(material.study, material.outcomes)
    drawn = figures(material, design)
    compared = differences.beside(design, material.measure)
    measured = side_by_side.side_by_side(material, design)
    return {
        "study": material.study,
        "progress": words.progress(material),
        "findings": words.findings(material, design),
        "cost": provenance.cost(material),
        "figures": drawn,
        "side_by_side": measured,
        "speed_columns": tuple(side_by_side.COLUMNS),
        "speeds": side_by_side.rows(material, design),
        "queries": material.queries,
        "colours": plot.TONES | {f"arm-{index}": pair for index, pair in enumerate(PALETTE)},
        "factors": tables.factor_names(design),
        "difference_columns": tuple(differences.COLUMNS),
        "differences": differences.rows(compared) if compared else [],
        "paper_columns": beside_paper.COLUMNS,
        "paper": beside_paper.orders(design, material.measure),
        "measure": material.measure,
        "arm_columns": tables.headings(tables.ARM_COLUMNS, material.measure),
        "arms": tables.arm_rows(design, material.measure),
        "run_columns": tables.headings(tables.RUN_COLUMNS, material.measure),
        "runs": tables.run_rows(design),
        "troubles": tables.troubles(design),
        "missing": tables.missing(design),
        "origins": provenance.origins(material),
        "warnings": provenance.warnings(material),
        "data_note": provenance.data_note(material),
        "drawing": {
            "figures": {
                each.name: {"data": each.traces, "layout": each.layout} for each in filter(None, (*drawn, measured))
            },
            "config": plot.CONFIG,
            "dark": plot.dark_colours(),
        },
    }

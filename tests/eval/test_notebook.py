"""The tutorial notebook runs in a kernel of Jupyter, and its outputs are what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from extras import extra

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
SECONDS = 300

nbformat, nbclient = extra("nbformat"), extra("nbclient")
pytestmark = pytest.mark.filterwarnings("default")  # of the client's own libraries


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cells with code, after they have run in an empty folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.outputs for cell in notebook.cells if cell.cell_type == "code"), "clear the outputs"
    folder = str(tmp_path_factory.mktemp("notebook"))
    nbclient.NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": folder}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_cell_shows_something(cells: list[Any]):
    assert len(cells) == 7
    assert all(cell.outputs for cell in cells)


def test_progress_is_one_text_kept_up_to_date(cells: list[Any]):
    progress, states = cells[1].outputs
    assert progress["data"]["text/plain"] == "4 done"
    assert states["data"]["text/plain"] == "{'done': 4}"


def test_figures_are_plotlys(cells: list[Any]):
    figures = [cell.outputs[-1]["data"]["application/vnd.plotly.v1+json"] for cell in (cells[4], cells[6])]
    assert all(figure["data"] for figure in figures)

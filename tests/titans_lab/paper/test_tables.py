from __future__ import annotations

from statistics import mean

import pytest

from titans_lab.paper import tables
from titans_lab.run.config import leaves


def test_every_table_has_a_source_and_a_figure_or_a_gap_for_every_column():
    assert len(tables()) == 15
    for name, table in tables().items():
        assert table.title, name
        assert table.source.startswith(("arXiv v1", "NeurIPS 2025 camera-ready")), name
        assert set(table.columns.values()) <= {"minimize", "maximize"}, name
        assert {len(figures) for figures in table.rows.values()} == {len(table.columns)}, name
        assert any(figure is not None for figures in table.rows.values() for figure in figures), name
        assert table.settings.keys() <= table.rows.keys(), name


def test_figures_read_off_a_plot_are_marked():
    approximate = {name for name, table in tables().items() if table.approximate}
    plots = {"depth-170M", "depth-360M", "depth-760M", "throughput", "depth-throughput", "babilong"}
    assert approximate == plots


def test_a_column_leaves_out_what_is_not_given():
    assert tables()["throughput"].column("16K") == {"Transformer++": 24.0, "Gated DeltaNet": 39.6}
    assert tables()["depth-360M"].column("2K") == {"1": 13.19, "2": 13.21, "3": 13.21, "4": 13.26}


@pytest.mark.parametrize("size", ["340M", "400M"])
def test_the_averages_are_those_of_the_accuracies(size: str):
    table = tables()[f"language-{size}"]  # as printed: rounded, and off by .03 in two rows
    for name, figures in table.rows.items():
        *_, average = figures
        accuracies = [figure for figure in figures[2:-1] if figure is not None]
        assert not accuracies or average == pytest.approx(mean(accuracies), abs=0.05), name


def test_the_ablations_perplexities_are_means_of_the_400m_models():
    language, ablation = tables()["language-400M"], tables()["ablation"]
    for variant in ("LMM", "MAC", "MAG", "MAL"):
        wiki, lambada = (language.column(name)[variant] for name in ("Wiki ppl", "LAMBADA ppl"))
        assert ablation.column("perplexity")[variant] == pytest.approx((wiki + lambada) / 2, abs=0.01)
        assert ablation.column("reasoning")[variant] == language.column("average")[variant]


def test_rows_are_set_by_keys_that_models_have():
    settings = tables()["ablation"].settings
    assert settings.keys() == tables()["ablation"].rows.keys()
    assert {f"model.{key}" for values in settings.values() for key in values} <= leaves().keys()

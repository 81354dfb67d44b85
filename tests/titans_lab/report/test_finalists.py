from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from titans_lab.report.check import check
from titans_lab.report.finalists import section
from titans_lab.stats.paired import Sample, compare
from titans_lab.stats.power import smallest_difference
from titans_lab.store.files import write_json
from titans_lab.store.store import Store

SEEDS = range(5)
RATES = (1e-3, 3e-3, 1e-2)
NOISE = (0.0, 0.3, -0.2, 0.1, -0.1)


@pytest.fixture
def chosen(lab):
    """`chosen([2.0, 1.9, 2.1])`: the base and two trials, each with a mean and seeds; None: a run that diverged."""

    def make(*losses: list[float | None], direction: str = "minimize", arm: str = "", figure: str = "loss", runs=None):
        made = runs or lab(grid={"train.lr": list(RATES)}, seeds=list(SEEDS))
        folder = Store(made.root).search(f"depth-{arm}")
        folder.create({"study": made.study.name, "arm": arm, "objectives": [[figure, figure, direction]]})
        rows = []
        for number, values, rate in zip((None, 0, 7), losses, RATES, strict=True):
            of_rate = [run for run in made.runs if run.config.train.lr == rate]
            for run, value in zip(of_rate, values, strict=True):
                rows.append({"number": number, "params": {"train.lr": rate} if number is not None else {}})
                rows[-1] |= {"seed": run.seed, "run_id": run.run_id}
                if not runs:
                    made.end(run, "done" if value is not None else "diverged", value)
        write_json(folder.finalists_path, {"runs": rows})
        return made

    return make


def around(mean: float, tilt: float = 0.0) -> list[float | None]:
    """Seeds that go up and down together, but for a tilt."""
    return [mean + noise + tilt * place for place, noise in enumerate(NOISE)]


def told(lab):
    return section(lab.built[0])


def test_a_better_finalist_is_said_to_be_better_and_its_row_is_the_paired_difference(chosen):
    base, worse, better = around(2.0), around(2.4, 0.01), around(1.8, 0.01)
    found = told(chosen(base, worse, better))
    first, second = compare(
        *[Sample(dict(enumerate(base)))], [Sample(dict(enumerate(each))) for each in (worse, better)]
    )
    assert found.caption.startswith(
        "The best finalist, trial 7, is better than the baseline with fresh seeds: -0.18 loss (95 % CI "
    )
    cells = [dict(zip(found.table.columns, row.cells, strict=True)) for row in found.table.rows]
    assert [row.heads for row in found.table.rows] == [("all", "baseline"), ("all", "trial 0"), ("all", "trial 7")]
    assert [row.better for row in found.table.rows] == [False, False, True]
    assert [each["verdict"] for each in cells] == ["–", first.verdict, second.verdict] == ["–", "worse", "better"]
    assert cells[2]["difference"] == f"{second.mean:+.4f}"
    assert cells[2]["95\N{NO-BREAK SPACE}% interval"].startswith(f"[{second.mean - second.half_width:+.4f}, ")
    assert (cells[2]["train.lr"], cells[2]["seeds"], cells[0]["mean loss"]) == ("0.01", "5 of 5", "2.020")


def test_the_answer_says_when_the_best_finalist_does_not_beat_the_base(chosen):
    found = told(chosen(around(2.0), around(2.3), around(1.99, 0.01)))
    differences = [0.01 * place - 0.01 for place in range(5)]
    power = smallest_difference(float(np.std(differences, ddof=1)), 5, 2)
    assert "trial 7, does not differ significantly from the baseline with fresh seeds: +0.01 loss" in found.answer
    assert found.answer.endswith(f"A difference of {power:.3g} would be found with 80 % power.")


def test_the_answer_says_when_the_best_finalist_is_worse(chosen):
    found = told(chosen(around(2.0), around(2.3, 0.01), around(2.4, 0.01)))
    assert "trial 0, is worse than the baseline with fresh seeds: +0.32 loss" in found.answer


def test_more_is_better_where_the_search_said_so(chosen):
    found = told(chosen(around(2.0), around(2.3, 0.01), around(2.4, 0.01), direction="maximize"))
    assert found.caption.startswith("The best finalist, trial 7, is better")


def test_a_finalist_with_a_diverged_seed_is_in_the_table_and_never_the_best(chosen):
    found = told(chosen(around(2.0), around(1.99), [*around(1.0, 0.01)[:4], None]))
    assert found.table.rows[2].cells[1] == "4 of 5"
    assert "better" not in found.table.rows[2].cells
    assert "trial 0, does not differ significantly from the baseline with fresh seeds: -0.01 loss (5" in found.answer


def test_a_figure_that_is_known_before_is_computed(chosen):
    found = told(chosen(around(2.0), around(2.0), around(2.0), figure="params"))
    assert float(found.table.rows[0].cells[2]) > 1000


def test_every_arm_has_its_own_sentence_and_runs_to_come_are_said(chosen, lab):
    made = chosen(around(2.0), around(2.3, 0.01), around(1.8, 0.01), arm="a")
    chosen(around(2.0), around(2.3, 0.01), around(1.8, 0.01), arm="b", runs=made)
    rows = [{"number": None, "params": {}, "seed": 9, "run_id": "beef"}]
    folder = Store(made.root).search("depth-c")
    folder.create({"study": made.study.name, "arm": "c", "objectives": [["loss", "loss", "minimize"]]})
    write_json(folder.finalists_path, {"runs": [*rows, rows[0] | {"number": 1, "run_id": "feed"}]})
    caption = told(made).caption
    assert "a: The best finalist, trial 7, is better" in caption
    assert "b: The best finalist, trial 7, is better" in caption
    assert "c: Interim: 2 runs of finalists not finished." in caption


def test_a_page_with_finalists_is_checked_and_finalists_that_come_later_are_not_on_it(chosen, lab, tmp_path: Path):
    made = chosen(around(2.0), around(2.3), around(1.8), arm="a")
    page = tmp_path / "page.html"
    page.write_text(made.page(), encoding="utf-8")
    chosen(around(2.0), around(2.3), around(1.8), arm="b", runs=made)
    assert "b: The best" in told(made).caption
    assert check(page, made.root, (made.study, made.runs)).differences == ()


def test_without_finalists_there_is_no_section(lab):
    assert told(lab(seeds=1)) is None

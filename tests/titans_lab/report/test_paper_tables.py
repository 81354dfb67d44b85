from __future__ import annotations

from titans_lab.report.paper_tables import sections


def row(task: str, metric: str, value: float, **more):
    common = {"unit": "x", "direction": "maximize", "split": "test", "count": 500}
    return common | {"task": task, "metric": metric, "value": value} | more


def cells(section, *heads: str) -> dict[str, str]:
    (found,) = [row for row in section.table.rows if row.heads == heads]
    return dict(zip(section.table.columns, found.cells, strict=True))


def test_what_lm_eval_asked_stands_in_the_papers_columns(lab):
    lab = lab(grid={"model.variant": ["lmm", "mac"]}, seeds=2)
    for index, run in enumerate(lab.runs):
        lab.end(run, "done", 2.0)
        lab.evaluate(run, f"w{index}", [row("wikitext", "word_perplexity", 100.0 + index)])
        lab.evaluate(run, f"p{index}", [row("piqa", "acc", 0.5), row("piqa", "acc_norm", 0.9)])
    lab.evaluate(lab.runs[0], "short", [row("piqa", "acc", 0.1, count=5)])  # fewer questions: the other counts
    (found,) = sections(*lab.built)
    ours = cells(found, "ours", "variant lmm")
    assert ours["Wiki ppl"].startswith("100.50 ± ")
    assert (ours["PIQA"], ours["BoolQ"], ours["average"]) == ("50.00 ± 0.00", "–", "–")
    assert cells(found, "paper, NeurIPS 2025 camera-ready, 340M parameters, 15B tokens", "MAC")["PIQA"] == "65.32"
    assert cells(found, "paper, NeurIPS 2025 camera-ready, 400M parameters, 15B tokens", "LMM")["Wiki ppl"] == "25.03"
    assert "ours have 421K parameters and were trained on 819K tokens" in found.caption


def test_needles_and_stories_stand_by_length(lab):
    lab = lab(seeds=1)
    (run,) = lab.runs
    lab.end(run, "done", 2.0)
    for length, share in ((1024, 0.75), (2048, 0.5)):
        asked = {"length": length, "setting": "number, ruler"}
        lab.evaluate(run, f"n{length}", [row("needle", "accuracy", share, **asked)])
        lab.evaluate(run, f"b{length}", [row("babilong", "accuracy", share / 2, **asked | {"setting": "qa1"})])
    needle, stories = sections(*lab.built)
    assert (needle.name, stories.name) == ("paper-niah-number-ruler", "paper-babilong-qa1")
    assert list(needle.table.columns) == ["1K", "2K", "4K", "8K", "16K"]
    ours = cells(needle, "ours", "baseline")
    assert (ours["1K"], ours["2K"], ours["4K"]) == ("75.0", "50.0", "–")
    assert cells(needle, "paper, arXiv v1, table 2", "MAC")["16K"] == "97.4"
    assert cells(stories, "ours", "baseline")["2K"] == "25.0"
    assert "not RULER-comparable" in needle.caption


def test_mads_score_is_the_best_setting_of_each_level(lab):
    grid = {"task.memorization.vocabulary": [256, 512], "train.lr": [1e-3, 1e-2]}
    base = {"task": {"name": "memorization"}, "model": {"variant": "lmm", "vocab_size": 1024}, "train": {"seq_len": 32}}
    lab = lab(base=base, grid=grid, seeds=1)
    for run, score in zip(lab.runs, (0.4, 0.6, 0.2, 0.1), strict=True):
        lab.end(run, "done", 1.0, score=score)
    (found,) = sections(*lab.built)
    assert cells(found, "ours", "lmm")["memorisation"] == "40.0"
    assert cells(found, "paper, NeurIPS 2025 camera-ready", "Titans")["memorisation"] == "83.5"


def test_forecasts_are_means_over_all_four_horizons(lab, tmp_path):
    base = {
        "model": {"variant": "lmm"},
        "task": {"name": "series"},
        "data": {"path": str(tmp_path / "ETTh1.csv")},
        "train": {"seq_len": 12},
    }
    lab = lab(base=base, grid={"task.series.horizon": [96, 192, 336, 720]}, seeds=2)
    for index, run in enumerate(lab.runs[:7]):
        found = [row("series", "mse", 0.1 * index), row("series", "mse", 9.0, baseline="ridge")]
        lab.end(run, "done", 1.0, evals=found)
    (found,) = sections(*lab.built)
    ours = cells(found, "ours", "lmm")  # of seed 1 a horizon is missing
    assert ours["ETTh1 MSE"] == f"{(0 + 0.2 + 0.4 + 0.6) / 4:.3f}"
    assert ours["ETTh1 MAE"] == ours["ETTm1 MSE"] == "–"


def test_a_study_that_asked_nothing_has_no_table(lab):
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "done", 2.0)
    assert list(sections(*lab.built)) == []

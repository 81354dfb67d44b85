"""What trials are judged by, and what makes no sense to be judged by."""

from __future__ import annotations

from pathlib import Path

import pytest
from searches import HEAD, Searching

from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.search.judge import judge_of
from titans_lab.search.racing import is_behind
from titans_lab.search.trial import Trial
from titans_lab.study.terms import SearchTerms

LOSS = RunConfig().task.settings.LOSS
MQAR = "base: {task: {name: mqar}, model: {vocab_size: 8192}}\n"


def optimised(searching: Searching, block: str = "", head: str = HEAD) -> list[tuple[str, str, str]]:
    [tuning] = searching(block, head=head).tunings
    return [(metric.name, metric.column, metric.direction) for metric in tuning.judge.metrics]


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (HEAD, ("loss", "loss", "minimize")),
        (MQAR, ("accuracy", "score", "maximize")),
        (MQAR + "metric: loss\n", ("loss", "loss", "minimize")),
        (MQAR + "metric: {name: accuracy, taken: best}\n", ("accuracy", "score", "maximize")),
    ],
)
def test_a_search_optimises_the_study_s_metric_or_the_task_s(searching: Searching, head: str, found):  # type: ignore[no-untyped-def]
    assert optimised(searching, head=head) == [found]


def test_each_metric_has_its_usual_direction_unless_another_is_given(searching: Searching):
    given = "[tokens_per_second, params, {name: peak_memory_bytes, direction: maximize}]"
    found = optimised(searching, f"  metric: {given}\n")
    assert [direction for _, _, direction in found] == ["maximize", "minimize", "maximize"]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("  metric: accuracy\n", r"s\.yaml:\d+: search\.metric: runs record no accuracy"),
        ("  metric: losss\n", r"s\.yaml:\d+: search\.metric: .*did you mean loss"),
        (
            "  metric: tokens_per_second\n  pruner: median\n",
            r"search\.pruner: tokens_per_second is known only when a run has ended",
        ),
        ("  pruner: {name: medium}\n", r"search\.pruner\.name"),
        (
            "  pruner: {name: median, n_warmup: 3}\n",
            r"search\.pruner\.n_warmup: no option of median; did you",
        ),
        ("  enqueue: {model.memory.depth: 3}\n", r"search\.enqueue: cannot be tried"),
    ],
)
def test_a_search_that_cannot_be_judged_is_refused_before_anything_starts(
    searching: Searching, tmp_path: Path, block: str, words: str
):
    space = "    model.memory.depth: {int: [1, 3]}\n"
    with pytest.raises(UserError, match=words):
        searching(block, space, HEAD + "where: model.memory.depth < 3\n")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("every", [0, 97, 1000])
def test_a_pruner_that_would_see_nothing_is_refused(searching: Searching, every: int):
    with pytest.raises(UserError, match=r"s\.yaml:\d+: search\.pruner: no run would be pruned"):
        searching("  pruner: median\n", head=f"{HEAD}  log: {{valid_every: {every}}}\n")


def test_a_study_without_a_search_says_what_to_write(tmp_path: Path):
    from titans_lab.search.coordinator import tunings
    from titans_lab.store.store import Store
    from titans_lab.study.study import load_study

    path = tmp_path / "s.yaml"
    path.write_text("question: q\n")
    with pytest.raises(UserError, match=r"s\.yaml: no search; say what to look for"):
        tunings(load_study(path), Store(tmp_path), lambda _: "0" * 64)


def test_reports_are_counted_by_validations(searching: Searching):
    [tuning] = searching("  pruner: median\n", head=f"{HEAD}  log: {{valid_every: 30}}\n").tunings
    [run] = tuning.runs({"train.lr": 1e-3})
    rows = [{"step": step, "valid_loss": 2.0 if step % 30 == 0 else None, "loss": 3.0} for step in range(10, 97, 10)]
    assert tuning.judge.reports(run.config, rows) == {1: 2.0, 2: 2.0, 3: 2.0}


def test_trials_are_judged_by_validation_and_finalists_by_the_test(searching: Searching):
    judge = searching("  trials: 1\n  constraints: {loss: {max: 2.0}}\n").tunings[0].judge
    summary = {"loss": 1.0, "score": 1.0, "valid_loss": 3.0, "valid_score": 3.0}
    assert judge.values(RunConfig(), summary) == (3.0,)
    assert judge.tested(RunConfig(), summary) == (1.0,)
    assert judge.limits(RunConfig(), summary)["loss"] > 0
    assert judge.values(RunConfig(), {"loss": 1.0}) is None


def test_a_trial_is_behind_if_it_is_worse_than_most_on_the_same_seeds():
    [metric] = judge_of(SearchTerms(()), (LOSS,)).metrics

    def trial(*by_seed: float) -> Trial:
        return Trial(0, "sampler", {}, by_seed=tuple((value,) for value in by_seed))

    others = [trial(1.0, 9.0), trial(2.0, 1.0), trial(3.0, 1.0), trial(4.0)]
    assert is_behind(trial(2.6), others, metric)
    assert not is_behind(trial(2.4), others, metric)
    assert not is_behind(trial(9.0), others[:3], metric)  # too few to tell
    assert not is_behind(trial(9.0, 9.0), others, metric)  # of two seeds there are three

from __future__ import annotations

import pytest

from titans_lab.report import study_report
from titans_lab.report.words import answer, findings, progress

DEPTHS = {"model.memory.depth": [1, 2]}


def tell(lab) -> str:
    told = study_report(lab.study, lab.runs, lab.root)
    said = findings(told.material, told.design, told.sections)
    return " ".join(filter(None, [progress(told.material), *said]))


def first_line(lab) -> str:
    told = study_report(lab.study, lab.runs, lab.root)
    return answer(told.material, told.design, told.sections)


def finish(lab, losses):
    for run, loss in zip(lab.runs, losses, strict=False):
        lab.end(run, "done", loss)
    return lab


def test_every_state_is_counted(lab):
    lab = finish(lab(grid=DEPTHS, seeds=4), [2.0, 2.1])
    lab.end(lab.runs[2], "diverged", diverged_step=9)
    for run, state in zip(lab.runs[3:], ("failed", "oom", "timeout"), strict=False):
        lab.end(run, state)
    lab.start(lab.runs[6], 3.0)
    assert tell(lab).startswith(
        "8 runs: 2 done, 1 diverged, 1 failed, 1 out of memory, 1 timed out, 1 lost (the worker died) and "
        "1 not started."
    )
    assert "Interim result: 2 runs not finished." in tell(lab)


def test_a_difference_that_the_seeds_do_not_carry_is_inconclusive(lab):
    told = tell(finish(lab(grid=DEPTHS), [2.1, 2.2, 2.3, 2.0, 2.3, 2.1]))
    assert "Lowest mean loss: depth 2, 2.133 ± 0.379 bits per byte (95 % t interval over 3 seeds)." in told
    assert (
        "Compared with the baseline (depth 1), inconclusive: depth 2 (t tests at 5 %, Holm-adjusted over 1 arm)."
        in told
    )


def test_better_and_worse_are_said_of_the_arms_beside_the_base(lab):
    lab = finish(lab(grid={"model.memory.depth": [1, 2, 3]}), [2.1, 2.2, 2.3, 1.5, 1.602, 1.701, 2.9, 3.002, 3.101])
    words = "better: depth 2; worse: depth 3 (t tests at 5 %, Holm-adjusted over 2 arms)."
    assert f"Compared with the baseline (depth 1), {words}" in tell(lab)


def test_one_seed_settles_nothing(lab):
    assert first_line(finish(lab(grid=DEPTHS, seeds=1), [2.0, 9.0])) == (
        "No test is possible: a comparison with the baseline (depth 1) needs at least two seeds of each arm."
    )


def test_an_arm_without_a_score_is_named(lab):
    lab = finish(lab(grid={"model.memory.depth": [1, 2, 3]}), [2.0, 2.01, 2.02, 2.5])
    for run in lab.runs[4:]:
        lab.end(run, "failed")
    assert "No seed reached a final loss in 1 arm: depth 3." in tell(lab)


def test_a_diverged_seed_keeps_an_arm_from_being_better(lab):
    lab = finish(lab(grid=DEPTHS, seeds=4), [2.1, 2.2, 2.3, 2.4, 1.5, 1.602, 1.701])
    assert "better: depth 2" in tell(lab)
    lab.end(lab.runs[7], "diverged", diverged_step=9)
    assert "Compared with the baseline (depth 1), inconclusive: depth 2" in tell(lab)
    assert "An arm with a diverged seed is never called better: depth 2." in tell(lab)


def test_a_mean_of_the_seeds_that_converged_is_told_as_such(lab):
    lab = finish(lab(grid=DEPTHS), [2.0, 2.01])
    lab.end(lab.runs[2], "diverged", diverged_step=9)
    assert "This mean is conditional on convergence: 1 of its 3 seeds diverged." in tell(lab)


@pytest.mark.parametrize(
    ("loss", "said"), [(2.0, "below that of order 3"), (3.0, "below that of order 1"), (5.0, "above all of them")]
)
def test_the_lowest_mean_is_set_beside_the_byte_models(lab, loss: float, said: str):
    lab = finish(lab(seeds=1), [loss])
    lab.ngram_baselines(order_0=4.7, order_1=3.5, order_3=2.4)
    assert f"The lowest mean is {said}." in tell(lab)


def test_models_that_count_bases_are_called_so(lab):
    lab = finish(lab(seeds=1, base={"task": {"name": "dna"}, "data": {"path": "some.fa"}}), [1.9])
    lab.ngram_baselines(order_1=1.95, order_3=1.8)
    assert "N-gram baselines over bases of the same split reach 1.950 (order 1) and 1.800 (order 3)." in tell(lab)


def test_a_study_of_one_arm_has_no_winner(lab):
    told = tell(finish(lab(), [2.0, 2.1, 2.2]))
    assert "Final loss: 2.100 ± 0.248" in told
    assert "Lowest" not in told


@pytest.mark.parametrize("state", ["diverged", "failed"])
def test_nothing_with_a_loss(lab, state: str):
    lab = lab(grid=DEPTHS, seeds=1)
    for run in lab.runs:
        lab.end(run, state)
    assert tell(lab) == f"2 runs: 2 {state}. No run reached a final loss."


def test_the_highest_accuracy_is_the_best_and_no_text_mentions_bytes(lab):
    base = {"task": {"name": "mqar"}, "model": {"vocab_size": 8192}}
    lab = lab(grid=DEPTHS, base=base)
    for run, accuracy in zip(lab.runs, [0.5, 0.51, 0.52, 0.9, 0.91, 0.92], strict=True):
        lab.end(run, "done", 1.0, score=accuracy)
    lab.ngram_baselines(order_0=4.7)
    told = tell(lab)
    assert "Highest mean accuracy: depth 2, 0.910 ± 0.025 share of answers (95 % t interval over 3 seeds)." in told
    page = lab.page()
    assert "bits per byte" not in page[page.index("<body>") :].partition("<pre")[0]
    assert "N-gram" not in told
    assert "Accuracy in share of answers over the finished seeds; bold arms are better than the baseline" in page
    for words in ("Final accuracy by depth", "Accuracy against throughput", "mean accuracy", "Further up and further"):
        assert words in page


def test_no_runs_at_all(lab):
    lab = lab()
    lab.runs = []
    assert tell(lab).startswith("The study has no runs.")

from __future__ import annotations

import pytest

from titans_lab.report.arms import arrange
from titans_lab.report.curves import learning_curves
from titans_lab.report.data import CURVE_POINTS, gather
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store

DEPTHS = {"model.memory.depth": [1, 2]}


def draw(lab):
    material = gather(lab.study, lab.runs, lab.root)
    return learning_curves(material, arrange(lab.study, material.outcomes))


def named(figure, name):
    return [trace for trace in figure.traces if trace.get("name") == name]


def test_an_arm_is_the_mean_of_its_seeds_with_a_band_from_the_lowest_to_the_highest(lab):
    lab = lab(grid=DEPTHS)
    for run, loss in zip(lab.runs, (2.0, 2.1, 2.6), strict=False):
        lab.end(run, "done", loss, valid_loss=loss + 0.5)
    band, line, final = draw(lab).traces
    end = 5 / (1 + 200 / 4) + 0.1
    assert line["x"][-1] == 200 * 4096
    assert line["y"][-1] == pytest.approx((2.0 + 2.1 + 2.6) / 3 + end, rel=1e-4)
    assert (final["x"], final["y"]) == ([200 * 4096], [pytest.approx((2.0 + 2.1 + 2.6) / 3 + 0.5)])
    half = len(band["x"]) // 2
    assert band["y"][half - 1] == pytest.approx(2.6 + end, rel=1e-4)
    assert band["y"][half] == pytest.approx(2.0 + end, rel=1e-4)


def test_validation_is_shown_where_all_runs_have_it_often_enough(lab):
    lab = lab(grid=DEPTHS, seeds=1)
    lab.end(lab.runs[0], "done", 2.0)
    assert draw(lab).layout["yaxis"]["title"]["text"] == "validation loss, bits per byte"
    lab.start(lab.runs[1], 2.0, valid_every=200).commit("done", {"loss": 2.0})
    assert draw(lab).layout["yaxis"]["title"]["text"] == "training loss, bits per byte"


def test_training_loss_can_be_chosen_in_place_of_validation(lab):
    lab = lab(grid=DEPTHS, seeds=1)
    for run in lab.runs:
        lab.end(run, "done", 2.0)
    figure = draw(lab)
    assert figure.controls["choices"] == [{"label": "Loss", "options": ["validation", "training"]}]
    validation, training = figure.controls["series"]
    assert validation["y"] == [trace["y"] for trace in figure.traces]
    assert validation["places"] == [axis["places"] for axis in figure.controls["x"]]
    assert (training["title"], validation["title"]) == (
        "training loss, bits per byte",
        "validation loss, bits per byte",
    )
    assert len(training["y"][0]) > len(validation["y"][0])
    assert [len(x) for x in training["places"][0]] == [len(y) for y in training["y"]]


def test_arms_have_dashes_of_their_own(lab):
    lab = lab(grid={"model.memory.depth": [1, 2, 3]}, seeds=1)
    for run in lab.runs:
        lab.end(run, "done", 2.0)
    dashes = [trace["line"]["dash"] for trace in draw(lab).traces if trace["mode"] == "lines"]
    assert len(set(dashes)) == 3


def test_it_can_be_drawn_against_steps_and_seconds_and_be_smoothed(lab):
    lab = lab(grid=DEPTHS)
    for run in lab.runs[:2]:
        lab.end(run, "done", 2.0)
    figure = draw(lab)
    assert [axis["name"] for axis in figure.controls["x"]] == ["tokens", "steps", "seconds"]
    tokens, steps, seconds = ([list(places) for places in axis["places"]] for axis in figure.controls["x"])
    assert tokens == [trace["x"] for trace in figure.traces]
    assert (tokens[1][-1], steps[1][-1], seconds[1][-1]) == (200 * 4096, 200, 100.0)
    assert [len(places) for places in steps] == [len(trace["y"]) for trace in figure.traces]
    assert figure.controls["smooth"] > 0


def test_axes_that_were_not_recorded_are_not_offered(lab):
    lab = lab(seeds=1)
    lab.create(lab.runs[0])
    recorder = Recorder(Store(lab.root).run(lab.runs[0].run_id).new_attempt(), {})
    recorder.add("metrics", [{"tokens": place * 4096, "step": place, "loss": 2.0} for place in range(1, 9)])
    recorder.commit("done", {"loss": 2.0})
    assert [axis["name"] for axis in draw(lab).controls["x"]] == ["tokens", "steps"]


def test_long_runs_are_thinned_to_means(lab):
    lab = lab(seeds=1)
    recorder = lab.start(lab.runs[0], 2.0, valid_every=1000)
    for step in range(201, 4001):
        recorder.log(step=step, tokens=step * 4096, loss=1.0 if step % 2 else 2.0)
    recorder.commit("done", {"loss": 2.0})
    (line,) = draw(lab).traces
    assert len(line["x"]) == CURVE_POINTS
    assert line["x"][-1] == 4000 * 4096
    assert line["y"][-10:] == pytest.approx([1.5] * 10, abs=0.05)


def test_a_diverged_run_is_a_line_of_its_own_that_ends_in_a_cross(lab):
    lab = lab(grid=DEPTHS, seeds=1)
    recorder = lab.start(lab.runs[0], 2.0, valid_every=1000)
    recorder.log(step=205, tokens=205 * 4096, loss=float("nan"))
    recorder.commit("diverged", {"diverged_step": 205})
    lab.end(lab.runs[1], "done", 2.1)
    line, cross = named(draw(lab), "depth 1")
    assert line["line"]["dash"] == "dot"
    assert (cross["marker"]["symbol"], cross["x"]) == ("x-thin", [200 * 4096])


def test_what_left_the_frame_is_crossed_at_its_edge_and_does_not_squash_the_rest(lab):
    lab = lab(grid=DEPTHS, seeds=1)
    recorder = lab.start(lab.runs[0], 2.0, valid_every=5)
    recorder.log(step=205, tokens=205 * 4096, loss=1e9, valid_loss=1e9)
    recorder.commit("diverged", {"diverged_step": 205})
    lab.end(lab.runs[1], "done", 2.1)
    figure = draw(lab)
    assert figure.layout["yaxis"]["range"][1] < 4
    _, cross = named(figure, "depth 1")
    assert cross["y"][0] < figure.layout["yaxis"]["range"][1]


def test_a_live_run_is_drawn_before_anything_is_done(lab):
    lab = lab(grid=DEPTHS)
    with lab.start(lab.runs[0], 2.0).attempt.claim.kept():
        (line,) = draw(lab).traces
    assert "depth 1, seed 0: running" in line["hovertemplate"]


def test_the_legend_names_every_arm_once(lab):
    lab = lab(grid=DEPTHS, seeds=2)
    lab.end(lab.runs[0], "done", 2.0)
    lab.end(lab.runs[1], "failed")
    lab.end(lab.runs[2], "failed")
    lab.end(lab.runs[3], "failed")
    assert [trace["name"] for trace in draw(lab).traces if trace["showlegend"]] == ["depth 1", "depth 2"]


def test_a_single_arm_needs_no_legend(lab):
    lab = lab(seeds=1)
    lab.end(lab.runs[0], "failed")
    assert not any(trace["showlegend"] for trace in draw(lab).traces)


def test_without_metrics_there_is_no_figure(lab):
    lab = lab(grid=DEPTHS)
    lab.create(lab.runs[0])
    assert draw(lab) is None


def test_no_ngram_baseline_stands_beside_curves_that_are_measured_on_other_bytes(lab):
    lab = lab(grid=DEPTHS)
    lab.ngram_baselines(order_1=2.2)
    for run in lab.runs:
        lab.end(run, "done", 2.0)
    assert gather(lab.study, lab.runs, lab.root).ngram_baselines
    assert not draw(lab).layout.get("shapes")
    assert "on the first 65,536 bytes of the validation part" in draw(lab).caption


def test_a_line_that_does_not_say_where_it_belongs_is_left_out(lab):
    lab = lab(seeds=1)
    recorder = lab.start(lab.runs[0], 2.0)
    before = draw(lab).traces
    recorder.log(step=300, loss=9.0)
    assert draw(lab).traces == before
    Store(lab.root).run(lab.runs[0].run_id).latest().metrics_path.write_text('{"step": 1, "loss": 9.0}\n')
    assert draw(lab) is None

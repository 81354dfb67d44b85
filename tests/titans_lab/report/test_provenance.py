from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.report.data import gather
from titans_lab.report.format import short
from titans_lab.report.provenance import cost, data_note, origins, warnings
from titans_lab.report.render import report
from titans_lab.report.subject import of_swept
from titans_lab.run.derived import flops, tokens
from titans_lab.store.files import read_json, write_json
from titans_lab.store.query import Snapshot
from titans_lab.store.store import Store


def material(lab):
    return gather(lab.study, lab.runs, lab.root)


def test_what_took_part_is_counted(lab):
    lab = lab()
    for run, host in zip(lab.runs, ("a", "b", "b"), strict=True):
        lab.end(run, "done", 2.0, host=host)
    told = {origin.name: origin.values for origin in origins(material(lab))}
    assert told["host"] == (("b", 2), ("a", 1))
    assert told["torch"] == (("2.13.0", 3),)
    assert warnings(material(lab)) == []


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("device_name", ("NVIDIA H200", "AMD EPYC"), "2 devices"),
        ("torch", ("2.11.0", "2.13.0"), "2 versions of torch"),
        ("commit", ("a1", "b2"), "2 commits"),
    ],
)
def test_mixtures_are_warned_of(lab, column: str, values: tuple[str, str], said: str):
    lab = lab(seeds=2)
    for run, value in zip(lab.runs, values, strict=True):
        lab.end(run, "done", 2.0, **{column: value})
    (warning,) = warnings(material(lab))
    assert said in warning
    assert all(value in warning for value in values)


@pytest.mark.parametrize(("digests", "told"), [(("a", "a"), 0), (("a", None), 1), (("a", "b"), 2)])
def test_commits_with_the_same_source_digest_are_no_mixture(lab, digests: tuple[str | None, ...], told: int):
    lab = lab(seeds=2)
    for run, commit, digest in zip(lab.runs, ("a1", "b2"), digests, strict=True):
        lab.end(run, "done", 2.0, commit=commit, **({"source_digest": digest} if digest else {}))
    assert len(warnings(material(lab))) == told


def test_runs_on_different_splits_do_not_compare(lab):
    lab = lab(grid={"data.valid_fraction": [0.05, 0.1]}, seeds=1)
    (warning,) = warnings(material(lab))
    assert "scores are not comparable" in warning


def test_a_damaged_record_is_named(lab):
    lab = lab(seeds=2)
    for run in lab.runs:
        lab.end(run, "done", 2.0)
    path = Path("runs", lab.runs[0].run_id, "run.json")
    (lab.root / path).write_text("{")
    assert any(f" {path}: is not JSON" in warning for warning in warnings(material(lab)))


@pytest.mark.parametrize(("count", "words"), [(1, "1 run is left out: its"), (2, "2 runs are left out: their")])
@pytest.mark.parametrize("plugins", [{}, {"theirs": "f" * 64}])
def test_runs_of_another_version_or_of_plugins_are_counted(lab, count: int, words: str, plugins: dict[str, str]):
    lab = lab(seeds=3)
    for run in lab.runs:
        lab.end(run, "done", 2.0)
    Store(lab.root).save_study(lab.study.record(lab.runs))
    for run in lab.runs[:count]:
        path = Store(lab.root).run(run.run_id).record_path
        record = read_json(path)
        record["config"]["model"]["variant"] = "theirs"
        write_json(path, record | {"plugins": plugins})
    snapshot = Snapshot(lab.root)
    found = warnings(report(of_swept(lab.study.name, snapshot), snapshot).material)
    assert next(line for line in found if "configuration" in line).startswith(words)


def test_the_default_text_depends_on_the_python(lab, tmp_path):
    assert "Another Python version is another corpus" in data_note(material(lab()))


def test_a_given_text_does_not(lab):
    assert data_note(material(lab(base={"data": {"path": "text.txt"}}))) == ""


def test_the_cost_is_the_sum_over_runs(lab):
    lab = lab(seeds=2)
    for run in lab.runs:
        lab.end(run, "done", 2.0, wall_seconds=1800.0, tokens=1_500_000)
    assert cost(material(lab)) == [
        ("1h00m", "worker time of 2 runs (no prediction: the store had no similar runs)"),
        ("3M", f"training tokens, of {short(2 * tokens(lab.runs[0].config))} planned"),
        ("7.8T", f"training FLOPs, of {short(2 * flops(lab.runs[0].config))} planned"),
    ]


@pytest.mark.parametrize(
    ("predicted", "words"),
    [
        ((900.0, 1800.0), "worker time of 2 runs, of 45m00s predicted"),
        ((900.0, None), "worker time of 2 runs; 15m00s predicted for 1 run, which took 30m00s"),
    ],
)
def test_the_cost_stands_beside_what_was_predicted(lab, predicted, words):
    lab = lab(seeds=2)
    for run, seconds in zip(lab.runs, predicted, strict=True):
        lab.end(run, "done", 2.0, wall_seconds=1800.0, predicted_seconds=seconds)
    assert cost(material(lab))[0] == ("1h00m", words)

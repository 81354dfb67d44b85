"""A report against its store: what was changed on either side is named."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from titans_lab.errors import UserError
from titans_lab.report import evidence
from titans_lab.report.check import check
from titans_lab.report.render import page, store_report
from titans_lab.store.files import read_json, write_json
from titans_lab.store.logs import digest_of
from titans_lab.store.store import Store


@pytest.fixture
def filled(lab):
    lab = lab(grid={"model.memory.depth": [1, 2]}, question="Is deeper <b>better</b>?", expect="Yes.")
    for index, run in enumerate(lab.runs[:5]):
        lab.end(run, "done", 2.0 + 0.05 * index)
    lab.end(lab.runs[5], "diverged", diverged_step=7)
    lab.ngram_baselines(order_3=2.2)
    return lab


@pytest.fixture
def report(filled, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(filled.page(), encoding="utf-8")
    return path


def change_parquet(lab, place: int, by: float, commit: bool) -> str:
    """One loss of one run; the commit's checksum too, if told. The run's id."""
    folder = Store(lab.root).run(lab.runs[0].run_id)
    table = pq.read_table(folder.metrics_path)
    losses = table.column("loss").to_pylist()
    losses[place] += by
    index = table.schema.get_field_index("loss")
    pq.write_table(table.set_column(index, "loss", pa.array(losses, pa.float64())), folder.metrics_path)
    if commit:
        status = read_json(folder.status_path)
        name = folder.metrics_path.relative_to(folder.path).as_posix()
        status["files"][name] = digest_of(folder.metrics_path.read_bytes())
        write_json(folder.status_path, status)
    return folder.run_id


def edited(path: Path, old: str, new: str) -> Path:
    html = path.read_text(encoding="utf-8")
    assert html.count(old) >= 1
    path.write_text(html.replace(old, new, 1), encoding="utf-8")
    return path


def test_a_report_says_what_its_store_does(filled, report: Path):
    found = check(report, filled.root)
    assert found.differences == ()
    assert found.statements >= 4


def test_a_store_that_has_grown_since_still_says_the_same(filled, report: Path):
    other = Store(filled.root).run("feed" * 4)
    other.create({"run_id": "feed" * 4, "seed": 0, "config": {}, "versions": {}})
    assert check(report, filled.root).differences == ()


ANSWER = {"metric": "accuracy", "unit": "share of answers", "direction": "maximize", "split": "test", "length": 1024}
NEEDLE = ANSWER | {"task": "needle", "setting": "passkey, brief"}
RATING = ANSWER | {"task": "piqa", "length": None}
TRIAL = {"runs": [], "reports": {}, "limits": {}, "attributes": {}, "origin": "sampler", "state": "done"}


def evaluated(lab, name: str, share: float) -> None:
    """What three sections of the page show: answers by length, by depth, and in the paper's table."""
    rows = [NEEDLE | {"value": share, "count": 50}, NEEDLE | {"value": share, "count": 1, "depth": 0.5}]
    lab.evaluate(lab.runs[0], name, [*rows, RATING | {"value": share, "count": 50}])


def tried(lab, number: int, value: float) -> None:
    folder = Store(lab.root).search("depth-1")
    folder.create({"study": lab.study.name, "arm": "", "objectives": [["loss", "loss", "minimize"]]})
    folder.save_trial(TRIAL | {"number": number, "params": {"model.dim": 16}, "values": [value]})


@pytest.mark.parametrize("more", [evaluated, tried])
def test_what_was_found_out_since_makes_no_page_wrong(filled, tmp_path: Path, more):
    evaluated(filled, "first", 0.5)
    tried(filled, 0, 2.0)
    report = tmp_path / "report.html"
    report.write_text(filled.page(), encoding="utf-8")
    before = report.read_bytes()
    more(filled, 1 if more is tried else "second", 1.0)
    assert check(report, filled.root).differences == ()
    assert filled.page().encode() != before  # one that is written now shows it


def test_an_evaluation_that_the_store_lost_is_named(filled, tmp_path: Path):
    evaluated(filled, "first", 0.5)
    report = tmp_path / "report.html"
    report.write_text(filled.page(), encoding="utf-8")
    Store(filled.root).run(filled.runs[0].run_id).evaluation_path("first").unlink()
    assert any(line.startswith("lengths: ") for line in check(report, filled.root).differences)


@pytest.mark.parametrize("most", [evidence.MOST_CELLS, 10])
@pytest.mark.parametrize("place", [0, 17, 39])
def test_one_changed_value_of_a_parquet_file_is_named(filled, tmp_path: Path, place: int, most: int, monkeypatch):
    monkeypatch.setattr(evidence, "MOST_CELLS", most)
    report = tmp_path / "report.html"
    report.write_text(filled.page(), encoding="utf-8")
    run_id = change_parquet(filled, place, 1e-6, commit=True)
    told = check(report, filled.root).differences
    assert any(line.startswith(f"curves: {run_id}: loss: ") for line in told)


def test_a_parquet_file_that_its_commit_does_not_know_is_named(filled, report: Path):
    run_id = change_parquet(filled, 3, 1e-6, commit=False)
    told = check(report, filled.root).differences
    assert any(line.startswith(f"curves: {run_id}: ") and "0 in the store" in line for line in told)


def test_a_changed_score_is_named_with_both_values(filled, report: Path):
    folder = Store(filled.root).run(filled.runs[1].run_id)
    status = read_json(folder.status_path)
    status["summary"]["loss"] = 2.06
    write_json(folder.status_path, status)
    told = check(report, filled.root).differences
    assert f"runs: {folder.run_id}: score: 2.05 in the report, 2.06 in the store" in told
    assert "figure final-score: not drawn as the store gives it" in told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('data-value="2.05"', 'data-value="1.05"', "section Runs: not as the store gives it"),
        ("2 of 3</td>", "3 of 3</td>", "section Arms: not as the store gives it"),
        ('"y":[2.0,', '"y":[1.9,', "figure final-score: not drawn as the store gives it"),
        ("Is deeper &lt;b&gt;", "Is deeper &lt;i&gt;", "the page outside of its sections, or its scripts"),
        ("// Draws the figures", "alert(1);//", "the page outside of its sections, or its scripts"),
        ("from metrics", "from  metrics", "curves: not the statement that this version asks"),
    ],
)
def test_what_was_changed_on_the_page_is_named(filled, report: Path, old: str, new: str, said: str):
    told = check(edited(report, old, new), filled.root).differences
    assert any(line.startswith(said) for line in told), told


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        (r'<script type="application/json" id="evidence">.*?</script>', "2.05", "1.05"),
        (r'<script type="application/json" id="drawing">.*?</script>', '"y":[2.0,', '"y":[1.9,'),
        (r'<section aria-labelledby="arms-title">.*?</section>', "2 of 3", "3 of 3"),
        (r'<section aria-labelledby="arms-title">.*?</section>', "<section ", '<section class="x" '),
        (r'<section aria-labelledby="arms-title">.*?</section>', ">Arms<", ">Other arms<"),
    ],
)
def test_a_second_block_or_section_beside_the_true_one_is_named(filled, report: Path, part, old, new, first):
    """Whichever of two a browser shows and the check reads."""
    (true,) = re.findall(part, report.read_text(encoding="utf-8"), re.DOTALL)
    assert old in true
    forged = true.replace(old, new)
    assert check(edited(report, true, forged + true if first else true + forged), filled.root).differences


def test_the_sql_of_a_stranger_reads_nothing_but_the_store(filled, report: Path, tmp_path: Path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    html = report.read_text(encoding="utf-8")
    for sql in (
        f"select * from read_csv('{secret}')",
        f"copy (select 1) to '{tmp_path}/written.csv'",
        f"with x as (copy (select 1) to '{tmp_path}/written.csv') select 1",
        "install httpfs",
    ):
        start = html.index('"curves":{"sql":"') + len('"curves":{"sql":"')
        end = html.index('","condensed"', start)
        report.write_text(html[:start] + sql.replace("'", "\\u0027") + html[end:], encoding="utf-8")
        told = check(report, filled.root).differences
        assert any(line.startswith("curves: query: ") for line in told), told
    assert not (tmp_path / "written.csv").exists()


def test_a_statement_without_end_is_stopped(filled, report: Path, monkeypatch):
    monkeypatch.setattr("titans_lab.report.check.SECONDS", 0.5)
    html = report.read_text(encoding="utf-8")
    start = html.index('"curves":{"sql":"') + len('"curves":{"sql":"')
    endless = "select count(*) from range(1000000) a, range(1000000) b where a.range + b.range = -1"
    report.write_text(html[:start] + endless + html[html.index('","condensed"', start) :], encoding="utf-8")
    assert "curves: query: stopped after 0.5 s" in check(report, filled.root).differences


def test_a_report_of_another_version_is_checked_by_its_statements_alone(filled, report: Path):
    edited(report, '"version":["titans-lab', '"version":["titans-lab of old')
    found = check(edited(report, "2 of 3</td>", "3 of 3</td>"), filled.root)
    assert found.differences == ()
    assert "titans-lab of old" in found.note
    change_parquet(filled, 1, 1e-6, commit=True)
    assert check(report, filled.root).differences


def test_what_is_no_report_is_refused(filled, report: Path, tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        check(tmp_path / "missing.html", filled.root)
    for old, new in (
        ('id="evidence"', 'id="other"'),
        ('"statements":{', '"statements":['),
        ('"condensed":false', '"condensed":0'),
    ):
        broken = tmp_path / "broken.html"
        broken.write_text(report.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        with pytest.raises(UserError, match="carries no evidence"):
            check(broken, filled.root)


def test_the_report_on_a_store_is_checked_too(filled, tmp_path: Path):
    runs = [{"run_id": run.run_id, "factors": run.factors, "baseline": run.baseline} for run in filled.runs]
    for name in ("depth", "deeper"):
        record = {"name": name, "question": "Why?", "expect": "", "runs": runs, "path": "", "overrides": []}
        Store(filled.root).save_study(record)
        path = tmp_path / "report.html"
        path.write_text(page(store_report(filled.root)), encoding="utf-8")
        assert check(path, filled.root).differences == ()
        html = path.read_text(encoding="utf-8")
        assert ("<h1>depth</h1>" in html) == (name == "depth")

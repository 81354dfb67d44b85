"""A report is what its store gives, byte for byte; whatever was changed on either side is named."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from titans_lab.errors import UserError
from titans_lab.report import check as checking
from titans_lab.report.check import OPENING, check, differences
from titans_lab.report.render import page, runs_report, store_report
from titans_lab.store.files import read_json, write_json
from titans_lab.store.logs import digest_of
from titans_lab.store.store import Store


def fill(lab):
    """Six runs of a study with markup in its question, all of them in the store."""
    for index, run in enumerate(lab.runs[:5]):
        lab.end(run, "done", 2.0 + 0.05 * index)
    lab.end(lab.runs[5], "diverged", diverged_step=7)
    lab.ngram_baselines(order_3=2.2)
    Store(lab.root).save_study(lab.study.record(lab.runs))
    return lab


STUDY = {"grid": {"model.memory.depth": [1, 2]}, "question": "Is deeper <b>better</b>?", "expect": "Yes."}


@pytest.fixture
def filled(lab):
    return fill(lab(**STUDY))


@pytest.fixture(scope="module")
def drawn(lab_at, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page, once for all that compare it with another one."""
    return fill(lab_at(tmp_path_factory.mktemp("drawn"), **STUDY)).page()


def written(html: str, folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture
def report(filled, tmp_path: Path) -> Path:
    return written(filled.page(), tmp_path)


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


def test_a_report_is_what_its_store_gives(filled, report: Path):
    assert check(report, filled.root).differences == ()
    assert check(report, filled.root, (filled.study, filled.runs)).differences == ()


def test_a_report_on_the_store_and_a_comparison_are_checked_too(filled, tmp_path: Path):
    for told in (store_report(filled.root), runs_report([run.run_id for run in filled.runs[1:4]], filled.root)):
        assert check(written(page(told), tmp_path), filled.root).differences == ()
    Store(filled.root).save_study(filled.study.record(filled.runs) | {"name": "deeper"})
    html = page(store_report(filled.root))
    assert "<h1>all studies</h1>" in html
    assert check(written(html, tmp_path), filled.root).differences == ()


def test_a_store_elsewhere_gives_the_same_page(filled, report: Path, tmp_path: Path):
    filled.root.rename(tmp_path / "moved")
    assert check(report, tmp_path / "moved").differences == ()


ANSWER = {"metric": "accuracy", "unit": "share of answers", "direction": "maximize", "split": "test", "length": 1024}
NEEDLE = ANSWER | {"task": "needle", "setting": "passkey, brief"}
RATING = ANSWER | {"task": "piqa", "length": None}
TRIAL = {"runs": [], "reports": {}, "limits": {}, "attributes": {}, "origin": "sampler", "state": "done"}


def evaluated(lab, number: int, share: float, at: str) -> None:
    """What three sections of the page show: answers by length, by depth, and in the paper's table."""
    rows = [NEEDLE | {"value": share, "count": 50}, NEEDLE | {"value": share, "count": 1, "depth": 0.5}]
    rows += [RATING | {"value": share, "count": 50}]
    lab.evaluate(lab.runs[0], f"asked-{number}", rows, finished=at)


def tried(lab, number: int, value: float, at: str) -> None:
    folder = Store(lab.root).search("depth-1")
    folder.create({"study": lab.study.name, "arm": "", "objectives": [["loss", "loss", "minimize"]]})
    folder.save_trial(TRIAL | {"number": number, "params": {"model.dim": 16}, "values": [value], "started": at})


@pytest.mark.parametrize("more", [evaluated, tried])
def test_later_records_are_no_difference(filled, tmp_path: Path, more: Callable[..., None]):
    more(filled, 0, 0.5, "2026-01-01T00:00:00+00:00")
    report = written(filled.page(), tmp_path)
    before = report.read_bytes()
    more(filled, 1, 1.0, "2126-01-01T00:00:00+00:00")
    assert check(report, filled.root).differences == ()
    assert len(filled.page().encode()) != len(before)  # one that is drawn now shows it


def test_a_record_that_the_store_lost_or_changed_is_named(filled, tmp_path: Path):
    evaluated(filled, 0, 0.5, "2026-01-01T00:00:00+00:00")
    report = written(filled.page(), tmp_path)
    evaluated(filled, 0, 0.6, "2026-01-01T00:00:00+00:00")
    assert any(line.startswith("section needle-depths: ") for line in check(report, filled.root).differences)
    Store(filled.root).run(filled.runs[0].run_id).evaluation_path("asked-0").unlink()
    assert any(line.startswith("nav contents") for line in check(report, filled.root).differences)


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("place", [0, 17, 39])
def test_one_changed_value_of_a_parquet_file_is_named(filled, report: Path, place: int, commit: bool):
    run_id = change_parquet(filled, place, 1e-6, commit)
    told = check(report, filled.root).differences
    assert any(line.startswith("script evidence: ") and run_id in line for line in told)


def test_a_changed_score_is_named_with_both_values(filled, report: Path):
    folder = Store(filled.root).run(filled.runs[1].run_id)
    status = read_json(folder.status_path)
    status["summary"]["loss"] = 2.06
    write_json(folder.status_path, status)
    told = check(report, filled.root).differences
    (line,) = [line for line in told if line.startswith("section runs")]
    page, store = line.split(", the store gives ")
    assert 'data-value="2.05"' in page
    assert 'data-value="2.06"' in store


def swapped(html: str) -> str:
    """Two sections in the place of each other."""
    one, other = re.findall(r'\n<section aria-labelledby="(?:arms|throughput)-title">.*?\n</section>', html, re.DOTALL)
    return html.replace(one, "\0").replace(other, one).replace("\0", other)


def second(part: str, first: bool) -> Callable[[str], str]:
    """A changed copy before or behind a part of the page, whichever of the two a browser shows."""

    def forge(html: str) -> str:
        (true,) = re.findall(part, html, re.DOTALL)
        forged = true.replace("2.05", "1.05").replace(">Arms<", ">Other arms<")
        assert forged != true
        return html.replace(true, forged + true if first else true + forged)

    return forge


def put(old: str, new: str) -> Callable[[str], str]:
    """`new` in the place of the first `old`."""
    return lambda html: html.replace(old, new, 1)


EVIDENCE = r'<script id="evidence".*?</script>'
ARMS = r'\n<section aria-labelledby="arms-title">.*?\n</section>'
ENDLESS = "select count(*) from range(10000000000)"
SLOW = "select levenshtein(repeat('a', 1000000), repeat('b', 1000000))"
FORGERIES: dict[str, tuple[Callable[[str], str], str]] = {
    "a number of a table": (put('data-value="2.05"', 'data-value="1.05"'), "section runs: "),
    "a word of a table": (put("2 of 3</td>", "3 of 3</td>"), "section arms: "),
    "a number of a figure": (put('"y":[2.0,', '"y":[1.9,'), "section final-score: "),
    "a key of a figure": (put('"layout":{', '"onclick":"alert(1)","layout":{'), "section final-score: "),
    "the end of a script in capitals": (
        put('"layout":{', '"layout":{"a":"</SCRIPT><script>document.title=1</SCRIPT>",'),
        "section final-score: ",
    ),
    "a script in a comment": (put('"layout":{', '"layout":{"a":"<!--<script>",'), "section final-score: "),
    "a colour of the dark page": (put('"dark":{', '"dark":{"2.000":"1.000",'), "script settings: "),
    "Plotly's configuration": (put('"config":{', '"config":{"plotlyServerURL":"http://a",'), "script settings: "),
    "a key of the evidence": (put('"sql":"', '"verdict":"<b>","sql":"'), "script evidence: "),
    "a statement": (put("from metrics", "from  metrics"), "script evidence: "),
    "a statement without end": (put('"sql":"select', f'"sql":"{ENDLESS}"'), "script evidence: "),
    "a slow statement": (put('"sql":"select', f'"sql":"{SLOW}"'), "script evidence: "),
    "a statement that reads files": (put('"sql":"select', '"sql":"from \'/etc/passwd\''), "script evidence: "),
    "the question": (put("Is deeper &lt;b&gt;", "Is deeper &lt;i&gt;"), "header: "),
    "the verdict": (lambda html: re.sub(r'(class="verdict">)[^<]*', r"\1It is.", html), "section outcome: "),
    "our script": (put("// Draws the figures", "alert(1);//"), "script page: "),
    "Plotly": (put("minified) v", "minified)  v"), "script plotly: "),
    "the style": (put(".verdict {", ".verdict { display: none;"), "style: "),
    "the policy": (put("default-src 'none'", "default-src *"), "script origin"),
    "the title": (put("<title>depth", "<title>deep"), "script origin"),
    "sections in another order": (swapped, "before section arms: "),
    "a section less": (lambda html: re.sub(ARMS, "", html, flags=re.DOTALL), "section arms: not on the page"),
    "evidence twice, forged first": (second(EVIDENCE, True), "script evidence: "),
    "evidence twice, forged last": (second(EVIDENCE, False), "before script page: "),
    "a section twice, forged first": (second(ARMS, True), "before section arms: "),
    "a section twice, forged last": (second(ARMS, False), "before section learning-curves: "),
    "more at the end": (lambda html: html + "<script>alert(1)</script>", "at the end of the page: "),
    "less at the end": (lambda html: html[:-10], "script page: "),
    "an empty line": (put("</header>\n", "</header>\n\n"), "before main: 1 bytes"),
    "a long quadratic text": (put("<main>", f"<main>{'<script ' * 40_000}"), "before section outcome: 320,000 bytes"),
    "a long text in capitals": (
        put("<main>", f"<main>{'<SCRIPT ' * 40_000}"),
        "before section outcome: 320,000 bytes",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_page_is_named_as_such_within_seconds(drawn: str, name: str):
    forge, said = FORGERIES[name]
    forged = forge(drawn)
    assert forged != drawn
    begun = time.monotonic()
    told = [*differences(forged.encode(), drawn.encode())]
    assert any(line.startswith(said) for line in told), told
    assert all(len(line) < 500 and line.isprintable() for line in told)
    assert time.monotonic() - begun < 20


def test_no_statement_of_a_page_is_run(filled, report: Path, tmp_path: Path):
    sql = f"copy (select 1) to '{tmp_path}/written.csv'; {ENDLESS}"
    forged = report.read_text(encoding="utf-8").replace('"sql":"select', f'"sql":"{sql}')
    told = check(written(forged, tmp_path), filled.root).differences
    assert told[0].startswith("script evidence: ")
    assert not (tmp_path / "written.csv").exists()


def reselected(report: Path, **changes: Any) -> Path:
    """The page with another record of what it was drawn for."""
    html = report.read_bytes()
    end = html.index(b"</script>\n")
    origin = json.loads(html[len(OPENING) : end])
    origin["selection"] |= changes
    report.write_bytes(OPENING + json.dumps(origin, separators=(",", ":")).encode() + html[end:])
    return report


def test_seeds_that_are_left_out_are_named(filled, tmp_path: Path):
    """The tool's own page on the better seeds alone."""
    told = runs_report([run.run_id for run in filled.runs[:4]], filled.root)
    report = reselected(written(page(told), tmp_path), kind="study", name="depth")
    found = check(report, filled.root).differences
    for run in filled.runs[4:]:
        assert f"run {run.run_id}: left out, although it had begun when the page was drawn" in found


def test_a_study_that_has_grown_since_makes_no_page_wrong(filled, report: Path):
    more = [run for run in filled.study.runs(lambda _: "0a" * 32) if run.config.model.memory.depth == 1]
    Store(filled.root).save_study(filled.study.record([*filled.runs, *more]))
    for run in more:
        filled.create(run)
    assert check(report, filled.root).differences == ()
    filled.end(more[0], "done", 1.0)
    assert check(report, filled.root).differences == ()


def test_a_time_of_drawing_that_is_too_early_is_named(filled, report: Path):
    drawn = store_report(filled.root).material.study.drawn - timedelta(days=1)
    found = check(reselected(report, drawn=drawn.isoformat()), filled.root).differences
    assert f"run {filled.runs[0].run_id}: ended after the page was drawn; draw the page again" in found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"runs": ["ab" * 8]}, "run abababababababab: not among the runs"),
        ({"runs": []}, "run "),
        ({"former": ["All of it was replicated."]}, "run All of it was replicated.: called a former run"),
    ],
)
def test_a_page_that_says_it_was_drawn_for_something_else_is_named(filled, report: Path, changes, said: str):
    found = check(reselected(report, **changes), filled.root).differences
    assert any(line.startswith(said) for line in found), found


def test_a_study_file_that_has_changed_since_the_sweep_is_named_with_the_page(filled, report: Path):
    Store(filled.root).save_study(filled.study.record(filled.runs) | {"question": "Other?"})
    (line,) = check(report, filled.root).differences
    assert line.startswith("header: the page has ")
    assert "Other?" in line
    assert check(report, filled.root, (filled.study, filled.runs)).differences == ()


def test_a_page_of_another_version_is_said_to_be_one(filled, report: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checking, "versions", lambda: {"titans-lab": "9.0"})
    found = check(report, filled.root)
    assert found.differences == ()
    assert found.note.startswith("drawn by titans-lab 0.")
    assert found.note.endswith("; this is titans-lab 9.0")


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"selection": {}, "versions": {}}',
        b'{"selection": [], "versions": []}',
        b'{"selection": {"kind": "study", "name": 1, "runs": [], "former": [], "drawn": "2026-01-01"}, "versions": {}}',
        b'{"selection": {"kind": "all", "name": "", "runs": [], "former": [], "drawn": "2026-01-01"}, "versions": {}}',
        b'{"selection": {"kind": "study", "name": "", "runs": [1], "former": [], "drawn": "2026-01-01"}}',
        b'{"selection": {"kind": "study", "name": "", "runs": [], "former": [], "drawn": "now"}, "versions": {}}',
        b'{"selection": {"kind": "study", "name": "", "runs": [], "former": [], "drawn": "2026-01-01"}, "versions": 1}',
    ],
)
def test_a_first_block_of_another_shape_is_refused(filled, report: Path, origin: bytes):
    html = report.read_bytes()
    report.write_bytes(OPENING + origin + html[html.index(b"</script>\n") :])
    with pytest.raises(UserError, match="changed in its first block"):
        check(report, filled.root)


def test_a_file_that_is_no_report_is_refused(filled, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match="cannot be read"):
        check(tmp_path / "missing.html", filled.root)
    with pytest.raises(UserError, match="not a regular file"):
        check(tmp_path, filled.root)
    for html in (b"<p>Hello</p>", b"<script>alert(1)</script>" + report.read_bytes(), OPENING + b"{}"):
        (tmp_path / "other.html").write_bytes(html)
        with pytest.raises(UserError, match="not a report of titans-lab"):
            check(tmp_path / "other.html", filled.root)
    monkeypatch.setattr(checking, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="larger than any report"):
        check(report, filled.root)


def test_a_study_that_was_never_swept_needs_its_file(lab, tmp_path: Path):
    lab = lab(seeds=1)
    report = written(lab.page(), tmp_path)
    with pytest.raises(UserError, match="study depth: the store has no record of a sweep of it; name the study file"):
        check(report, lab.root)
    assert check(report, lab.root, (lab.study, lab.runs)).differences == ()

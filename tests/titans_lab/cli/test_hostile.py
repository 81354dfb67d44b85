"""Attacks on no verb in particular: what a record, a study or the environment can do to whoever looks at it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from workbench import Workbench, run

from titans_lab.store.files import read_json, write_json
from titans_lab.store.recorder import Recorder

#: A title of the terminal's window, a colour, another order of letters, and a command in one byte.
STEERING = "\x1b]0;mine\x07\x1b[31m\u202e\x9b2J"


@pytest.fixture
def poisoned(bench: Workbench) -> Workbench:
    """A study of three runs, one of which failed, whose records are full of commands to a terminal."""
    folders = bench.folders("seeds=3")
    bench.sweep("seeds=3")
    env = dict.fromkeys(("host", "device_name", "torch", "commit"), STEERING)
    for number, folder in enumerate(folders):
        recorder = Recorder(folder.new_attempt(), env)
        recorder.commit(*(("done", {"loss": 2.0}) if number else ("failed", {}, f"Traceback\n{STEERING}")))
        write_json(folder.record_path, read_json(folder.record_path) | {"data_source": STEERING})
    ids = [{"run_id": folder.run_id, "factors": {"arm": STEERING}} for folder in folders]
    bench.store.save_study({"name": "tiny", "question": STEERING, "expect": STEERING, "runs": ids})
    return bench


@pytest.mark.parametrize(
    "verb",
    ["status", "status STUDY", "status --state failed", "plan STUDY seeds=3", "logs RUN", "query QUERY", "report",
     "report --format md", "compare OTHERS", "fit STUDY seeds=3", "doctor", "cancel STUDY", "rm tiny --yes"],
)  # fmt: skip
def test_no_record_steers_a_terminal(cli: Any, poisoned: Workbench, verb: str):
    failed, *done = (folder.run_id for folder in poisoned.folders("seeds=3"))
    words = {"STUDY": [str(poisoned.study)], "RUN": [failed], "OTHERS": done, "QUERY": ["select * from runs"]}
    ended = cli(*(each for word in verb.split() for each in words.get(word, [word])), "--store", poisoned.store.root)
    assert "Traceback (most" not in ended.err
    assert [letter for letter in ended.out + ended.err if not letter.isprintable() and letter not in "\n\xa0"] == []


@pytest.mark.parametrize("name", ["a\x1b[31mred", "a\u202edevil", "a\x9b2J", "a\nb", "a" * 101])
def test_an_arm_has_a_name_that_can_be_printed(cli: Any, tmp_path: Path, name: str):
    escaped = name.encode("unicode_escape").decode()
    (tmp_path / "x.yaml").write_text(f'question: q\nablate: {{"{escaped}": {{model.dim: 16}}}}\n')
    ended = cli("plan", tmp_path / "x.yaml", "--store", tmp_path / "store")
    assert ended.code == 2
    assert "cannot name an arm; use at most 100 printable characters, the first a letter or a digit" in ended.err


def test_a_stream_of_few_letters_is_no_fault(bench: Workbench):
    done = run(bench.command("plan"), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "seed=0" in done.stdout
    assert done.stdout.isascii()


def test_a_pipe_in_the_place_of_a_record_is_named_and_not_waited_for(poisoned: Workbench):
    failed, *done = poisoned.folders("seeds=3")
    attempt = failed.attempts()[0]
    records = [failed.record_path, attempt / "env.json", attempt / "status.json", *(each.status_path for each in done)]
    for path in [*records, *poisoned.store.study_paths()]:
        path.unlink()
        os.mkfifo(path)
    tool, at = poisoned.command("status")[:3], ("--store", str(poisoned.store.root))
    query, doctor = (run([*tool, *words, *at]) for words in (["query", "from runs"], ["doctor"]))
    assert (query.returncode, doctor.returncode) == (0, 3)
    for path in records:
        assert f"{path}: cannot be read: is a device or a pipe, not a file" in doctor.stdout
    assert str(failed.record_path) in query.stderr
    assert run([*tool, "doctor", "--fix", *at]).returncode == 3
    assert not any(path.exists() for path in records)


@pytest.mark.parametrize("kind", ["loop", "dangling", "long"])
@pytest.mark.parametrize(
    "verb", ["status", "status STUDY", "plan STUDY", "query QUERY", "report", "doctor", "sweep STUDY"]
)
def test_a_store_that_cannot_be_a_folder_is_named_by_every_verb(cli: Any, bench: Workbench, kind: str, verb: str):
    store = bench.root / ("long" * 100 if kind == "long" else kind)
    if kind != "long":
        store.symlink_to(kind if kind == "loop" else "nowhere")
    words = [{"STUDY": bench.study, "QUERY": "from runs"}.get(word, word) for word in verb.split()]
    ended = cli(*words, "--store", store)
    assert (ended.code, ended.out) == (2, "")
    told = "cannot be read (File name too long)" if kind == "long" else "not a folder"
    assert f"{store!s:.200}: {told}; name the store with --store" in ended.err


@pytest.mark.parametrize("verb", ["export -o OUT", "logs RUN", "status STUDY", "query QUERY"])
@pytest.mark.parametrize("shut", ["files", "folders"])
def test_records_that_only_their_owner_may_read_are_named(bench: Workbench, verb: str, shut: str):
    folder = bench.recorded()
    attempt = folder.new_attempt()
    attempt.log_path.write_text("done")
    Recorder(attempt, {"host": "laptop"}).commit("done", {"loss": 2.0})
    for path in folder.path.rglob("*.*") if shut == "files" else [bench.store.root / "runs"]:
        path.chmod(0)
    known = {"STUDY": bench.study, "QUERY": "from runs", "RUN": folder.run_id, "OUT": bench.root / "a.tar.gz"}
    words = [str(known.get(word, word)) for word in verb.split()]
    owner = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]  # root may read all
    tool = [sys.executable, "-c", "from titans_lab.cli import main; main()", *words, "--store", str(bench.store.root)]
    ended = run([*(() if os.geteuid() else owner), *tool])
    (bench.store.root / "runs").chmod(0o700)
    assert ended.returncode in (0, 2), ended.stderr
    assert "Permission denied" in ended.stderr
    assert "Traceback" not in ended.stderr

"""plan."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from typing import Any

from pasts import finish
from workbench import Workbench

from titans_lab.executors.devices import cores
from titans_lab.planning.expected import step_flops
from titans_lab.planning.plan import plan
from titans_lab.run.run import Run

HISTORY = ("grid.model.dim=[16, 32, 64]", "seeds=2")


def remember(bench: Workbench) -> None:
    """Runs of three widths, whose time follows their FLOPs, and whose loss is made of seed and width."""

    def seconds(run: Run) -> float:
        return 1e-6 * step_flops(run.config) * run.config.train.steps * (1.1 if run.seed else 1)

    def loss(run: Run) -> float:
        return 2.0 + run.seed - run.config.model.dim / 100 * (1 + run.seed / 7)

    finish(bench.runs(*HISTORY), bench.store, wall_seconds=seconds, peak_memory_bytes=4e8, loss=loss)


def test_without_history_there_are_sizes_and_no_guesses(cli: Any, bench: Workbench):
    ended = cli("plan", bench.study, "seeds=2", "--store", bench.store.root)
    head, _, *rows, _, same, _, total, time, difference = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    assert head.split() == ["run", "id"]
    for word in ("state pending", "parameters", "tokens 256", "FLOPs", "state bytes"):
        assert word in same
    assert [row.split() for row in rows] == [[run.label, run.run_id[:8]] for run in bench.runs("seeds=2")]
    wide = cli("plan", bench.study, "seeds=2", "--wide", "--store", bench.store.root).out.splitlines()
    assert wide[0].split()[:4] == ["run", "id", "state", "tokens"]
    assert wide[2].split()[1] == bench.runs("seeds=2")[0].run_id
    assert total.startswith("2 runs, 2 to run: 512 tokens, ")
    assert time.startswith("Time: unknown for 2 of 2 runs: ")
    assert time.endswith("--probe measures it")
    assert difference.startswith("Detectable difference: unknown; ")


def test_a_plan_with_history_has_intervals_and_novelties(cli: Any, bench: Workbench):
    remember(bench)
    ended = cli(
        "plan", bench.study, "grid.model.dim=[16, 48]", "seeds=3", "--max-parallel", "1", "--store", bench.store.root
    )
    head, _, *rows, _, same, _, total, time, difference = ended.out.splitlines()
    assert head.split("  ")[-1].strip() == "differs from the nearest run in"
    assert same == "Every run: tokens 256."
    assert rows[0].split()[3] == "done"
    assert rows[2].endswith("seed 1 -> 2") or rows[2].endswith("seed 0 -> 2")
    assert re.search(r"dim (16|32|64) -> 48", rows[3])  # they are equally near
    assert re.search(r" [0-9.]+ MiB  ", rows[3])  # each end of the interval rounds to the middle
    assert total.startswith("6 runs, 4 to run: ")
    assert time.endswith(", one at a time")
    assert " to " in time
    assert difference.startswith("Detectable difference at 3 seeds, with 80 % power: ")


def test_seeds_that_cannot_decide_what_the_study_asks_are_warned_of(cli: Any, bench: Workbench):
    remember(bench)
    arguments = ("plan", bench.study, "grid.model.dim=[16, 48]", "--store", bench.store.root)
    assert cli(*arguments, "seeds=1").err.startswith("warning: one seed decides nothing")
    said = cli(*arguments, "seeds=3", "effect=1e-6").err
    assert said.startswith("warning: 3 seeds find a difference of ")
    assert "`effect` asks for 1e-06 (loss, bits per byte)" in said
    assert cli(*arguments, "seeds=3", "effect=1e6").err == ""


def test_json_has_every_part_of_a_plan(cli: Any, bench: Workbench):
    remember(bench)
    arguments = ("plan", bench.study, "grid.model.dim=[16, 48]", "seeds=3", "--store", bench.store.root)
    found = json.loads(cli(*arguments, "--json").out)
    expected = plan(bench.runs(*arguments[2:4]), bench.store, cores())
    assert list(found) == [
        "study", "question", "expect", "effect", "warnings", "devices", "at_once", "seconds", "worker_seconds",
        "detectable", "undecided", "mixed", "edited", "orphans", "search", "runs",
    ]  # fmt: skip
    assert found["detectable"]["pairs"] == 4
    assert [row["run_id"] for row in found["runs"]] == [row.run_id for row in expected.runs]
    for row, planned in zip(found["runs"], expected.runs, strict=True):
        assert row["seconds"] == (planned.seconds and vars(planned.seconds))
        assert (row["new"] or {}).get("fields") == (
            planned.new and {key: list(pair) for key, pair in planned.new.fields.items()}
        )
    rows = list(csv.DictReader(cli(*arguments, "--csv").out.splitlines()))
    assert [float(row["seconds_high"] or 0) for row in rows] == [
        (planned.seconds and planned.seconds.high) or 0 for planned in expected.runs
    ]
    assert [row["flops"] for row in rows] == [str(planned.flops) for planned in expected.runs]
    assert rows[-1]["new"] == str(expected.runs[-1].new)


def test_a_search_is_told_with_the_command_that_starts_it(cli: Any, bench: Workbench):
    space, finalists = "{train.lr: {float: [1e-3, 1e-1]}}", "{count: 1, seeds: 5, base: false}"
    search = f"{{space: {space}, proxy: {{train.tokens: 128}}, finalists: {finalists}}}"
    bench.study.write_text(f"{bench.study.read_text()}search: {search}\n")
    overrides = ("grid.model.memory.depth=[1, 2]", "search.trials=7", "search.pruner=median", "search.sampler=random")
    at = ("plan", bench.study, *overrides, "--store", bench.store.root)
    command = shlex.join(["titans-lab", "tune", str(bench.study), *overrides])
    assert cli(*at).out.splitlines()[-2:] == [
        "Search: 7 trials of train.lr for each of 2 arms, sampler random, pruner median, train.tokens 128. "
        "Then 10 runs of finalists. To start it:",
        f"  {command}",
    ]
    found = json.loads(cli(*at, "--json").out)["search"]
    assert (found["trials"], found["arms"], found["sampler"], found["pruner"]) == (7, 2, "random", "median")
    assert (found["parameters"], found["command"]) == (["train.lr"], command)
    assert (found["proxy"], found["finalists"]) == ({"train.tokens": 128}, {"count": 1, "seeds": 5, "base": False})


def test_finished_runs_of_several_kinds_are_warned_of(cli: Any, bench: Workbench):
    finish(bench.runs("seeds=[0]"), bench.store)
    finish(bench.runs("seeds=[1]"), bench.store, {"torch": "2.9"})
    ended = cli("plan", bench.study, "seeds=2", "--store", bench.store.root)
    assert ended.err == "warning: the finished runs of this study differ in torch: 2.0 (1 run), 2.9 (1 run)\n"


def test_a_probe_measures_on_this_machine(cli: Any, bench: Workbench, monkeypatch: Any):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    ended = cli("plan", bench.study, "--probe", "--max-parallel", "1", "--store", bench.store.root, "--json")
    found = json.loads(ended.out)
    assert ended.err.startswith("timing five steps of the smallest and of the largest run on ")
    assert found["seconds"]["value"] > 0
    assert found["runs"][0]["peak_bytes"]["value"] > 1e7


def test_a_thousand_runs_are_planned(cli: Any, bench: Workbench):
    rates = ", ".join(f"{rate}e-5" for rate in range(1, 101))
    ended = cli("plan", bench.study, f"grid.train.lr=[{rates}]", "seeds=10", "--store", bench.store.root)
    assert "\n1000 runs, 1000 to run: 256K tokens, " in ended.out
    assert len(ended.out.splitlines()) == 1008


def test_combinations_that_are_one_run_are_noted(cli: Any, bench: Workbench):
    ended = cli("plan", bench.study, "model.memory.momentum=false", "grid.model.memory.eta_bias=[0.0, 1.0]")
    assert ended.out.count("pending") == 1
    assert "note: 1 of 2 combinations are the same run as another one" in ended.err
    assert "warning: " in ended.err
    assert "eta_bias" in ended.err


def test_a_plan_and_a_sweep_with_nothing_to_do_read_each_record_of_the_store_once(bench: Workbench):
    remember(bench)
    watch = (
        "import sys; opened = []; from titans_lab.cli import main\n"
        "sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == 'open' else None)\n"
        "try: main()\n"
        "finally: print(*opened, sep='\\n', file=sys.stderr)"
    )
    for verb in ("plan", "sweep"):
        command = [sys.executable, "-c", watch, verb, bench.study, *HISTORY, "--store", bench.store.root]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        read = Counter(line for line in ended.stderr.splitlines() if line.endswith("/status.json"))
        assert set(read.values()) == {1}, (verb, read)
        assert len(read) == len(bench.runs(*HISTORY))

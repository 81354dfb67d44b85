"""bench."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import signal
from statistics import median
from typing import Any

import pytest
from workbench import MINUTES, Workbench, alive, children, until

import titans
from titans.models.cost import parameters, train_flops_per_token
from titans_lab.environment import library_version, processor
from titans_lab.run.config import plain
from titans_lab.run.identity import model_id

TINY = ("--length", "40", "--rounds", "2", "--threads", "1")


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_a_bench_is_printed_kept_and_asked_for(cli: Any, bench: Workbench):
    arguments = ("grid.train.lr=[1e-2, 1e-3]", "seeds=3", *TINY, "--against", "mag", "--json")
    ended = cli("bench", bench.study, *arguments, "--store", bench.store.root)
    assert (ended.code, ended.err) == (0, f"measuring 1 pair on {processor()}\n")
    [row] = json.loads(ended.out)
    [config] = {run.config.model for run in bench.runs()}
    assert row["config"] == plain(config)
    assert row["parameters"] == parameters(config)
    assert row["baseline_parameters"] == parameters(dataclasses.replace(config, variant="mag"))
    assert row["flops_per_token"] == train_flops_per_token(config, 40, 2)
    seconds = row["seconds"]
    assert {name: len(each) for name, each in seconds.items()} == {"product": 2, "model": 2, "baseline": 2}
    ratios = [theirs / ours for ours, theirs in zip(seconds["model"], seconds["baseline"], strict=True)]
    assert (row["ratio"], row["ratio_low"], row["ratio_high"]) == (median(ratios), min(ratios), max(ratios))
    assert row["tokens_per_second"] == 80 / median(seconds["model"])
    assert row["baseline_tokens_per_second"] == 80 / median(seconds["baseline"])
    rates = [20 * 2 * 512**3 / each for each in seconds["product"]]
    shares = [row["flops_per_token"] * 80 / own / rate for own, rate in zip(seconds["model"], rates, strict=True)]
    assert row["product_share"] == pytest.approx(median(shares))
    [kept] = bench.ask("select * from benches")
    assert kept | {"seconds": seconds, "config": row["config"]} == kept | row
    assert json.loads(kept["seconds"]) == seconds
    where = {name: kept[name] for name in ("device", "device_name", "threads", "torch", "model", "configuration")}
    assert where == {
        "device": "cpu",
        "device_name": processor(),
        "threads": 1,
        "torch": library_version("torch"),
        "model": model_id(config),
        "configuration": "lmm",
    }
    assert json.loads(kept["versions"]) == titans.VERSIONS
    assert (bench.store.root / "benches" / f"{kept['bench']}.json").exists()


def test_a_pair_that_breaks_stops_no_other(cli: Any, bench: Workbench):
    sizes = "grid.model.vocab_size=[35184372088832, 256]"
    ended = cli("bench", bench.study, sizes, *TINY, "--batch", "3", "--store", bench.store.root)
    head, _, row, _, last = ended.out.splitlines()
    assert ended.code == 3
    assert "times transformer (lowest to highest)" in head
    assert row.split()[:2] == ["vocab_size=256", "40"]
    [name] = [path.stem for path in bench.store.bench_paths()]
    assert (
        last == f"Forward and backward on {processor()}, 1 thread. Medians of 2 rounds. The store has them as {name}."
    )
    broken = (
        "failed: vocab_size=35184372088832, 40 tokens, against transformer: titans_lab.bench ended with exit code 1"
    )
    assert f"{broken} before its last answer; see above\n" in ended.err
    assert bench.ask("select batch, length, variant, depth, chunk_size from benches") == [
        {"batch": 3, "length": 40, "variant": "lmm", "depth": 1, "chunk_size": 8}
    ]
    page = bench.store.root / "page.html"
    assert cli("report", bench.study, "--output", page, "--store", bench.store.root).code == 0
    assert "Speed, measured side by side" in page.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bench_leaves_no_process(bench: Workbench, number: signal.Signals):
    with bench.start("bench", "--length", "32", "--rounds", "1000000") as command:
        [child] = until(lambda: children(command.pid, "titans_lab.bench"), "the process that measures")
        os.kill(command.pid, number)
        _, err = command.communicate(timeout=MINUTES)
    assert command.returncode == 130
    assert err.endswith("\ninterrupted\n")
    until(lambda: not alive(child), "the end of that process")
    assert not bench.store.root.exists()


PEER = pytest.mark.skipif(bool(importlib.util.find_spec("titans_pytorch")), reason="titans-pytorch is installed")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--against", "transfomer"], "--against transfomer: no such baseline; did you mean transformer?"),
        (["--against", "hyena"], "valid here: lmm, mac, mag, mal, ttt_linear, "),
        pytest.param(["--against", "titans-pytorch"], "not installed; pip install titans-pytorch, or", marks=PEER),
        (["--against", "mac", "model.memory.chunk_size=24"], "--against mac: segment_len: 64 is not a multiple of"),
        (["--length", "0"], "--length 0: '0' is not a number of tokens; write 512,2048 for two lengths"),
        (["--length", "512,,2"], "'' is not a number of tokens"),
        (["--rounds", "0"], "'--rounds'"),
        (["--threads", "0"], "'--threads'"),
        (["--batch", "0"], "'--batch'"),
        (["model.n_heads=3"], "model.dim: 16 is not divisible by n_heads (3)"),
    ],
)
def test_what_is_wrong_ends_with_2(cli: Any, bench: Workbench, arguments: list[str], words: str):
    code, out, err = cli("bench", bench.study, *arguments, "--store", bench.store.root)
    assert (code, out) == (2, "")
    assert words in err
    assert not bench.store.root.exists()


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("no-such.yaml", "no-such.yaml: no such file"),
        ("model.dmi=16", "override model.dmi=16: model.dmi: unknown key; did you mean model.dim?"),
        ("train.seq_len=16", "write grid.train.seq_len=[...] to change its values"),
    ],
)
def test_without_a_study_an_argument_is_an_override_of_the_default(cli: Any, argument: str, words: str):
    code, out, err = cli("bench", argument)
    assert (code, out) == (2, "")
    assert words in err


def test_all_cores_are_one_process_s():
    from titans_lab.bench.process import setup_on
    from titans_lab.executors.devices import cores

    setup = setup_on(cores()[0], 5)
    assert setup.environment()["OMP_NUM_THREADS"] == str(len(cores()))
    assert setup.device == cores()[0]

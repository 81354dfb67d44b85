from __future__ import annotations

from pathlib import Path

import pytest
from draws import generator
from workbench import Workbench

from titans_lab.data.corpus import load_corpus
from titans_lab.stats.ngram import witten_bell_bits
from titans_lab.store.recorder import Recorder
from titans_lab.tasks.task import build_task
from titans_lab.training.train import Trainer
from titans_lab.training.worker import save_ngram_baseline


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    bench = Workbench.at(tmp_path)
    letters = "".join(generator().choice(list("ACGT"), 3000, p=[0.7, 0.1, 0.1, 0.1]))
    lines = [letters[i : i + 60] for i in range(0, 3000, 60)]
    bench.text.write_text("\n".join((">one", *lines[:20], ">two", *lines[20:])))
    return bench


def test_bases_are_learned_in_bits_per_base_beside_n_grams(bench: Workbench):
    import torch

    [run] = bench.runs("task.name=dna", "train.tokens=1280", "train.lr=2e-2")
    task = build_task(run.config, run.seed)
    assert task.settings.METRIC.unit == "bits per base"
    assert task.digest == run.data_hash == run.config.data_digest()
    attempt = bench.store.run(run.run_id).new_attempt()
    summary = Trainer(run.config, run.seed, task, torch.device("cpu"), Recorder(attempt, {})).run()
    assert summary["score"] == summary["loss"] < 4  # of the 8 that it begins near

    corpus = load_corpus(run.config.data, fasta=True)
    assert set(corpus.train.tobytes()) <= set(b"ACGTN")
    save_ngram_baseline(bench.store, corpus, run.config.data, task.settings.ORDERS)
    rows = bench.ask("select context, bits_per_byte as bits from ngram_baselines order by context")
    expected = {order: witten_bell_bits(corpus.train, corpus.test, order) for order in (1, 3, 5, 7)}
    assert {row["context"]: row["bits"] for row in rows} == pytest.approx(expected)

"""A model under lm-eval: its own definitions of the tasks, over rows from files, with no network."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from extras import extra, shared
from workbench import Workbench
from workbench import run as run_command

from titans.models.config import MemoryConfig, ModelConfig
from titans.models.language_model import LanguageModel
from titans_lab.data.tokenizer import BYTES, train_bpe
from titans_lab.errors import UserError
from titans_lab.harness.asking import task_names
from titans_lab.harness.evaluate import OFFLINE, evaluate, load_task, prepare_environment
from titans_lab.harness.rows import find, read
from titans_lab.harness.scoring import answer, question
from titans_lab.harness.table import TASKS, table

os.environ.update(dict.fromkeys(OFFLINE, "1"))  # before lm-eval is imported
extra("lm_eval")

CPU = torch.device("cpu")
LIMIT = 3
RAW = {"activity_label": "Removing ice", "ctx_a": "A man [title] sits.", "ctx_b": "he  wears", "label": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of every task, and HellaSwag's as the hub has them."""
    folder = tmp_path_factory.mktemp("rows")
    for task in TASKS:
        path, split = find(task, shared("commonsense").parent)
        rows = [row for row, _ in zip(read(task, path), range(LIMIT), strict=False)]
        if task == "wikitext":
            rows = [{"page": row["page"][:400]} for row in rows]
        if task == "hellaswag":
            rows = [RAW | {"endings": row["choices"]} for row in rows]
        (folder / f"{task}_{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def harness_model(vocabulary: int = 256, tokenizer: Any = BYTES) -> Any:
    from titans_lab.harness.model import HarnessModel

    memory = MemoryConfig(depth=1, chunk_size=16)
    config = ModelConfig(variant="lmm", dim=16, n_layers=1, n_heads=2, vocab_size=vocabulary, memory=memory)
    return HarnessModel(LanguageModel(config, 5).eval(), tokenizer, CPU, batch=4)


def figures(model: Any, task: str, data: Path) -> dict[str, float]:
    return {score.metric.name: score.value for score in evaluate(model, task, data, "test")}


def requests(task: Any) -> list[tuple[str, tuple[Any, ...]]]:
    task.build_all_requests(limit=LIMIT, rank=0, world_size=1)
    return [(request.request_type, request.args) for request in task.instances]


@pytest.fixture(scope="module")
def manager() -> Any:
    """Of lm-eval's own definitions."""
    from lm_eval.tasks import TaskManager

    return TaskManager()


def own(manager: Any, task: str, rows: list[dict[str, Any]]) -> Any:
    """lm-eval's own definition of a task, over given rows."""
    import datasets
    from lm_eval.tasks._yaml_loader import load_yaml

    kept = {"rows": datasets.Dataset.from_list(rows)}
    splits = {"training_split": None, "validation_split": None, "fewshot_split": None, "test_split": "rows"}
    config = load_yaml(manager.task_index[task].yaml_path)
    changed = {"custom_dataset": lambda **_: kept, "num_fewshot": 0, **splits}
    return manager.load([config | changed])["tasks"][task]


@pytest.mark.parametrize("task", TASKS)
def test_requests_are_those_of_lm_evals_own_definition(task: str, data: Path, manager: Any):
    ours = load_task(task, data)["tasks"][task]
    rows = list(read(task, find(task, data)[0]))
    if task == "hellaswag":
        rows = [json.loads(line) for line in find(task, data)[0].read_text().splitlines()]
    theirs = own(manager, task, rows)
    assert requests(ours) == requests(theirs)
    assert len(ours.instances) >= LIMIT
    wanted = [ours.doc_to_target(doc) for doc in ours.test_docs()]
    assert wanted == [theirs.doc_to_target(doc) for doc in theirs.test_docs()]
    assert ours.aggregation().keys() == theirs.aggregation().keys()


def test_all_columns_of_the_paper_come_from_files_without_a_network(data: Path):
    prepare_environment(online=False)
    found = {task: evaluate(harness_model(), task, data, "test") for task in TASKS}
    row = table({(task, score.metric.name): score.value for task, scores in found.items() for score in scores})
    assert all(value is not None and math.isfinite(value) for value in row.values())
    assert all(score.count == LIMIT for scores in found.values() for score in scores)


def test_figures_are_what_they_are_called(data: Path):
    model = harness_model()
    piqa, lambada = (figures(model, task, data) for task in ("piqa", "lambada_openai"))
    right = 0
    for row in read("piqa", find("piqa", data)[0]):
        asked = [question(BYTES, f"Question: {row['goal']}\nAnswer:", f" {row[key]}") for key in ("sol1", "sol2")]
        first, second = (each.log_likelihood for each in answer(model.model, asked, 1, CPU))
        right += (second > first) == row["label"]
    assert piqa["acc"] == pytest.approx(right / LIMIT)
    texts = [row["text"].rsplit(" ", 1) for row in read("lambada_openai", find("lambada_openai", data)[0])]
    values = [answer(model.model, [question(BYTES, text, f" {last}")], 1, CPU)[0] for text, last in texts]
    assert lambada["perplexity"] == pytest.approx(math.exp(-sum(v.log_likelihood for v in values) / LIMIT), rel=1e-4)


def test_a_limit_takes_the_first_rows(data: Path):
    [score] = evaluate(harness_model(), "winogrande", data, "train", limit=1)
    assert (score.metric.name, score.count) == ("acc", 1)


def test_any_tokenizer_serves(data: Path):
    texts = [row["page"].encode() for row in read("wikitext", find("wikitext", data)[0])]
    tokenizer = train_bpe("bpe:300", 300, texts)
    model = harness_model(300, tokenizer)
    found = figures(model, "wikitext", data)
    assert 1 < found["bits_per_byte"] < 3 * math.log2(300)
    assert found["byte_perplexity"] == pytest.approx(2 ** found["bits_per_byte"])
    assert model.generate_until([]) == []


def test_words_are_counted_as_lm_eval_counts_them():
    from lm_eval.tasks.wikitext.preprocess_wikitext import process_results

    from titans_lab.tasks.text.task import count_words

    for page in (" = One = \n \n two\u00a0three , ", "x", "a\tb", "\n"):
        assert process_results({"page": page}, (-1.0,))["word_perplexity"][1] == count_words(page.encode())


def test_it_goes_on_until_a_stop():
    model, tokens = harness_model(), "once upon a time"

    class Request:
        args = (tokens, {"until": ["\n\n"], "max_gen_toks": 4})

    [text] = model.generate_until([Request()])
    assert len(text) <= 4


def test_wrong_tasks_and_rows_are_named(data: Path, tmp_path: Path):
    assert task_names(["arc-e", "lambada", "siqa", "arc_easy"]) == ["arc_easy", "lambada_openai", "social_iqa"]
    with pytest.raises(UserError, match=r"--task: 'pica' is not needle, babilong or paper, nor one of wikitext"):
        task_names(["pica"])
    (tmp_path / "piqa_test.jsonl").write_text('{"goal": 1}\n')
    with pytest.raises(UserError, match=r"piqa_test\.jsonl:1: no 'sol1'"):
        evaluate(harness_model(), "piqa", tmp_path, "test")


def test_the_command_prints_the_papers_row_and_keeps_it(data: Path, tmp_path: Path):
    bench = Workbench.at(tmp_path)
    assert bench.call("sweep").returncode == 0
    [run] = bench.runs()
    arguments = ["eval", run.run_id, "--data", str(data), "--task"]
    first = tool(bench, *arguments, "lambada_openai,piqa,arc-c")
    assert (first.returncode, first.stderr) == (0, "")
    values = dict(line.rsplit(maxsplit=1) for line in first.stdout.splitlines()[2:] if "  " in line)
    assert list(values)[:4] == ["Wiki ppl", "LAMBADA ppl", "LAMBADA acc", "PIQA acc"]
    assert values["Wiki ppl"] == values["average"] == "-"
    [kept] = bench.ask("select value, count, split from evals where task = 'piqa' and metric = 'acc'")
    assert float(values["PIQA acc"]) == pytest.approx(100 * kept["value"], abs=0.01)
    assert (kept["count"], kept["split"]) == (LIMIT, "train")
    again = json.loads(tool(bench, *arguments, "piqa", "--json").stdout)
    assert [row["recorded"] for row in again] == [True, True]
    for wrong, complaint in (
        ("pica", "'pica' is not needle, babilong"),
        ("piqa", "--data, --online: give one of the two"),
    ):
        ended = tool(bench, "eval", run.run_id, "--task", wrong)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert complaint in ended.stderr


def tool(bench: Workbench, *arguments: str) -> Any:
    """The command, on the store alone."""
    command = [part for part in bench.command(*arguments) if part != str(bench.study)]
    return run_command(command)

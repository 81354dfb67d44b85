"""The model card of a run, written from its record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from titans_lab.evaluation.trained import Trained
from titans_lab.quantities import count, plural
from titans_lab.run.identity import run_facts
from titans_lab.run.run import config_in
from titans_lab.stats.interval import summarise
from titans_lab.stats.proportion import wilson
from titans_lab.store.query import Snapshot
from titans_lab.store.store import Store
from titans_lab.tables import markdown_text
from titans_lab.version import __version__

Row = dict[str, Any]

HEAD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- titans
- test-time-memory
---
"""
USE = """\
```python
import titans.hf  # of the package titans-lab: registers the model
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
tokens = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**tokens, max_new_tokens=50)[0]))
```

lm-eval needs no line of Python: `lm_eval --model hf --model_args pretrained=FOLDER,trust_remote_code=True`. The package
has to be installed. After {tokens} tokens the state of a sequence has {state} bytes. Padding stands at the right.
"""
RUNS = "select * from runs where data_hash = (select data_hash from runs where run_id = $run)"
LONG = """\
select task, setting, length, metric, value, count from evals
where run_id = $run and evaluation is not null and depth is null and position is null and length is not null
order by all"""
#: The facts of a run that its card lists, by their columns.
RECIPE = {
    "train.tokens": "tokens",
    "train.seq_len": "sequence length",
    "train.batch_size": "batch size, sequences",
    "train.lr": "peak learning rate",
    "train.weight_decay": "weight decay",
    "train.precision": "precision",
}


def card(store: Store, trained: Trained) -> str:
    """Return the model card of a run in Markdown: use, results with intervals, data, recipe and caveats."""
    snapshot = Snapshot(store.root)
    rows = snapshot.ask(RUNS, {"run": trained.run_id}).table.to_pylist()
    own = next(row for row in rows if row["run_id"] == trained.run_id)
    seeds = [row for row in rows if _same(row, own)]
    studies = snapshot.ask("select distinct question from studies where run_id = $run", {"run": trained.run_id})
    questions = [text for text in studies.table.column("question").to_pylist() if text]
    model = trained.config.model
    title = f"# {model.variant}, {count(own['parameters'])} parameters, {count(own['tokens'])} tokens\n"
    origin = f"Run `{trained.run_id}` of titans-lab {__version__}, seed {trained.seed}."
    asked = [f"It was trained to answer: {markdown_text(text)}" for text in questions]
    parts = [
        HEAD + title,
        " ".join([origin, *asked]) + "\n",
        USE.format(tokens=trained.config.train.seq_len, state=f"{own['state_bytes']:,}"),
        "## Results\n",
        *_results(own, seeds),
        *_long(snapshot.ask(LONG, {"run": trained.run_id}).table.to_pylist()),
        "## Data and recipe\n",
        *_recipe(own, trained),
        "## Caveats\n",
        "\n".join(f"* {line}" for line in _caveats(own, seeds)) + "\n",
    ]
    return "\n".join(parts)


def _same(row: Row, own: Row) -> bool:
    """Return whether two runs differ in their seeds alone."""
    configs = config_in(row["config"]), config_in(own["config"])
    if None in configs or row["versions"] != own["versions"]:
        return False
    first, second = (run_facts(config) for config in configs if config)
    return first == second


def _results(own: Row, seeds: Sequence[Row]) -> Iterator[str]:
    done = [row for row in seeds if row["state"] == "done"]
    yield f"On the test part, with 95 % t intervals over {plural(len(done), 'seed')} of the same configuration:\n"
    yield "| figure | this run | mean | interval |\n|---|---|---|---|"
    figures = {f"{own['metric']}, {own['unit']}": "score", "loss": "loss", "loss with writes off": "loss_writes_off"}
    for name, column in figures.items():
        values = [row[column] for row in done if row[column] is not None and math.isfinite(row[column])]
        if own[column] is None or (column == "loss" and own["loss"] == own["score"]):
            continue
        found = summarise(values)
        interval = "unknown: one seed" if found.half_width is None else f"{found.low:.4f} to {found.high:.4f}"
        yield f"| {markdown_text(name)} | {own[column]:.4f} | {found.mean:.4f} | {interval} |"
    yield ""


def _long(rows: Sequence[Row]) -> Iterator[str]:
    shares = [row for row in rows if row["count"] and 0 <= row["value"] <= 1]
    if not shares:
        return
    yield "Facts in long inputs, with 95 % Wilson intervals:\n"
    yield "| task | setting | tokens | right | of | interval |\n|---|---|---|---|---|---|"
    for row in shares:
        low, high = wilson(round(row["value"] * row["count"]), row["count"])
        cells = (row["task"], row["setting"] or "", row["length"], f"{row['value']:.3f}", row["count"])
        yield f"| {' | '.join(markdown_text(str(cell)) for cell in cells)} | {low:.3f} to {high:.3f} |"
    yield ""


def _recipe(own: Row, trained: Trained) -> Iterator[str]:
    facts = run_facts(trained.config)
    source = own["data_source"] or "unknown"
    yield "| | |\n|---|---|"
    yield f"| data | {markdown_text(Path(source).name if source.startswith('/') else source)} |"
    yield f"| SHA-256 of the data | `{own['data_hash']}` |"
    yield f"| tokenizer | {markdown_text(trained.tokenizer.name)} |"
    for key, words in RECIPE.items():
        section, _, name = key.partition(".")
        yield f"| {words} | {getattr(getattr(trained.config, section), name)} |"
    machine = f"{own['device_name']}, torch {own['torch']}, commit {own['commit']}"
    yield f"| trained on | {markdown_text(machine)} |\n"
    named = json.dumps({key: value for key, value in sorted(facts.items()) if key not in RECIPE}, indent=1, default=str)
    yield f"Every other setting that decides its numbers and is not at its neutral value:\n\n```json\n{named}\n```\n"


def _caveats(own: Row, seeds: Sequence[Row]) -> Iterator[str]:
    tokens = own["tokens"] / own["parameters"]
    yield f"It has seen {tokens:.3g} tokens for each parameter. Compute-optimal language models see about 20."
    done = sum(row["state"] == "done" for row in seeds)
    if done == 1:
        yield "No other seed of this configuration was trained, so the spread over seeds is unknown."
    if diverged := sum(row["state"] == "diverged" for row in seeds):
        yield f"{diverged} of {plural(len(seeds), 'seed')} of this configuration diverged; the means leave them out."
    yield "It is a research model without any tuning for safety or instructions, and no filter was applied to its data."
    yield "The licence of the data is that of their source."
    if own["plugins"] not in (None, "{}"):
        yield f"It needs the plugins {markdown_text(', '.join(json.loads(own['plugins'])))}, loaded before the model."

"""The views that a query reads: their columns in order, with types and units."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from titans_lab.run.config import RunConfig, layout

#: The type of a column: int, float, bool, str, datetime, or a dictionary of fields and their types, which is a struct.
ColumnType = type | dict[str, Any]

SQL_NAMES: dict[type, str] = {int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", str: "VARCHAR", datetime: "TIMESTAMP"}


@dataclass(frozen=True)
class Column:
    """A column of a view. Any of its values may be null.

    Attributes:
        name: The name in SQL.
        shape: The type of its values.
        meaning: The description in docs/columns.md, with its unit.
    """

    name: str
    shape: ColumnType = field(hash=False)
    meaning: str

    @property
    def type(self) -> str:
        """Return the SQL name of the type."""
        return sql_type(self.shape)


def shape_of(hint: Any) -> ColumnType:
    """Return the column type of a type hint: a dataclass is a struct, `X | None` is X, a Literal its values' type.

    A section without fields is left out, because Parquet and SQL have no empty struct.
    """
    if is_dataclass(hint):
        shapes = {name: shape_of(inner) for _, name, inner in layout(hint)}
        return {name: shape for name, shape in shapes.items() if shape != {}}
    if get_origin(hint) is Literal:
        return type(get_args(hint)[0])
    if NoneType in get_args(hint):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
        return shape_of(hint)
    if hint not in SQL_NAMES:
        raise TypeError(f"{hint}: no column of a view can hold it")
    return hint


def sql_type(shape: ColumnType) -> str:
    if isinstance(shape, dict):
        return f"STRUCT({', '.join(f'{name} {sql_type(inner)}' for name, inner in shape.items())})"
    return SQL_NAMES[shape]


RUN_ID = Column("run_id", str, "hash of everything that decides the run's numbers: configuration, seed, data, versions")

#: The sections of a configuration, each a struct.
SECTIONS = tuple(
    Column(each.name, shape_of(get_type_hints(RunConfig)[each.name]), f"configuration, section `{each.name}`")
    for each in fields(RunConfig)
)

#: What a worker logs while it trains.
METRICS = (
    Column("step", int, "optimiser steps so far"),
    Column("tokens", int, "training tokens so far"),
    Column("loss", float, "training loss, mean over the steps since the last row; for text in bits per byte"),
    Column("valid_loss", float, "loss on a part of the validation data; null in rows without a validation"),
    Column("valid_score", float, "the task's metric on that part"),
    Column("lr", float, "learning rate"),
    Column("grad_norm", float, "norm of the gradient before clipping"),
    Column(
        "noise_scale",
        float,
        "gradient noise scale in sequences: grad_variance / grad_square; null: not asked for, or one of them is not "
        "above 0",
    ),
    Column("grad_variance", float, "trace of the covariance of a sequence's gradient, estimated since the last row"),
    Column("grad_square", float, "squared norm of the true gradient, estimated without bias since the last row"),
    Column("tokens_per_second", float, "training tokens a second since the last row"),
    Column(
        "utilisation", float, "training FLOP/s as a share of a plain matrix product's, measured when the run starts"
    ),
    Column("step_seconds", float, "seconds per step, mean since the last row"),
    Column("elapsed_seconds", float, "seconds since training began"),
    Column("peak_memory_bytes", int, "peak memory so far, bytes"),
)

#: What a worker logs of its memories: means over some validation sequences, and over positions.
MEMORY = (
    Column("step", int, "optimiser steps so far"),
    Column("tokens", int, "training tokens so far"),
    Column("block", int, "block of the model, from 0"),
    Column(
        "layer", int, "layer of the memory, from 0; a LayerNorm gain is the last; null for the loss, which layers share"
    ),
    Column("head", int, "head of the memory, from 0"),
    Column("position", int, "first token of the segment that the values are means over; null: the whole window"),
    Column("loss", float, "inner loss at the weights at the start of the chunk, where a token's gradient is taken"),
    Column("gradient_norm", float, "norm of that gradient; null, as all below, for a layer that is not written"),
    Column("theta", float, "step size"),
    Column("eta", float, "momentum, 0 to 1; mean over channels"),
    Column("alpha", float, "forgetting, 0 to 1; mean over channels"),
    Column(
        "weight_norm",
        float,
        "norm of the weights before a token's write, over the initial norm; null where that is 0",
    ),
    Column(
        "staleness",
        float,
        "distance of the gradient from the one at the weights before a token's write, over its norm",
    ),
)

#: What a worker's final evaluation and a later `titans-lab eval` measure.
EVALS = (
    Column("task", str, "what was evaluated, such as text or mqar"),
    Column("metric", str, "name of the metric: loss, accuracy, ..."),
    Column("unit", str, "unit of the metric"),
    Column("direction", str, "minimize or maximize: which values are better"),
    Column("split", str, "part of the data: valid or test"),
    Column(
        "setting",
        str,
        "the cases, such as pairs=8; null, like length, depth and position: all of the split",
    ),
    Column("length", int, "tokens in each sequence, where lengths are compared"),
    Column("depth", float, "depth of the needle in the sequence, from 0 (the start) to 1, where depths are compared"),
    Column("position", int, "first position of the segment that the value is the mean over; it ends at the next one's"),
    Column("baseline", str, "name of the baseline that has this value, such as repeat-last; null: the run's own model"),
    Column("value", float, "value of the metric"),
    Column("count", int, "number of tokens, answers or examples that the value is the mean over"),
    Column("evaluation", str, "hash of the request of a later evaluation; null: the evaluation at the end of the run"),
    Column("finished", datetime, "end of the later evaluation, UTC"),
    Column("note", str, "warnings about the interpretation of the value, and the unit of lengths"),
)

#: The logs that a worker writes row by row while it runs. Each is a view, with the run's id as first column.
LOGS: dict[str, tuple[Column, ...]] = {"metrics": METRICS, "memory": MEMORY, "evals": EVALS}

RUNS = (
    RUN_ID,
    Column("state", str, "pending, running, done, diverged, pruned, failed, oom, timeout, cancelled or lost"),
    Column("attempt", int, "number of the last attempt, from 1"),
    Column("seed", int, "seed of the initial parameters and of the batches"),
    *SECTIONS,
    Column("config", str, "JSON: the configuration as recorded"),
    Column("data_hash", str, "SHA-256 of the data"),
    Column("data_source", str, "where the data came from"),
    Column("parent", str, "run whose final weights it began with; null: its seed drew the initial values"),
    Column(
        "steps_before",
        int,
        "optimiser steps that were behind the parent, whose training it goes on with; 0: a new training began; null: "
        "it has no parent, or the parent's steps were not known",
    ),
    Column("init_weights", str, "SHA-256 of the weights file that it began with"),
    Column(
        "versions", str, "JSON: versions of model, operator, task and trainer, which are part of the run's identity"
    ),
    Column("plugins", str, "JSON: SHA-256 of each plugin that the run uses, by the plugin's name"),
    Column("parameters", int, "trainable parameters, embeddings included"),
    Column("flops_per_token", int, "training FLOPs per token, forward and backward"),
    Column("state_bytes", int, "size of the state that generation carries from token to token, bytes per sequence"),
    Column("metric", str, "name of the task's metric"),
    Column("unit", str, "unit of the metric"),
    Column("direction", str, "minimize or maximize: which values of the metric are better"),
    Column("score", float, "final value of the metric on the test part; for text the same as the loss"),
    Column(
        "loss", float, "final loss on the test part: for text in bits per byte, for others in the unit of train_loss"
    ),
    Column(
        "score_writes_off",
        float,
        "score with all writes to memories and recurrences switched off at test time; null: the model has none",
    ),
    Column("loss_writes_off", float, "loss with all writes switched off, likewise"),
    Column("valid_score", float, "final value of the metric on the validation part"),
    Column("valid_loss", float, "final loss on the validation part"),
    Column("train_loss", float, "last training loss, in the same unit"),
    Column("tokens", int, "training tokens done"),
    Column("steps", int, "optimiser steps done"),
    Column("tokens_per_second", float, "training tokens a second, median over the log rows after the first"),
    Column("utilisation", float, "training FLOP/s at that speed as a share of a plain matrix product's on the devices"),
    Column("predicted_seconds", float, "wall_seconds that `plan` predicted at launch; null: no similar run was known"),
    Column("wall_seconds", float, "duration of the training in seconds, over all attempts that it resumed"),
    Column(
        "peak_memory_bytes",
        int,
        "peak memory of the run on all its devices, bytes: of tensors on a GPU; of the processes with Python, torch "
        "and the data on a CPU",
    ),
    Column("diverged_step", int, "step at which training diverged; null: it did not"),
    Column("micro_batch", int, "examples in a forward pass on a device"),
    Column("oom_retries", int, "how often the micro-batch was halved because memory ran out"),
    Column("resumed_from", {"attempt": int, "step": int}, "checkpoint that the last attempt resumed from; null: none"),
    Column("deterministic", bool, "whether equal devices, torch, threads, kernel and micro-batch give the same bits"),
    Column("started", datetime, "start of the last attempt, UTC"),
    Column("finished", datetime, "commit of the last attempt, UTC"),
    Column("host", str, "name of the machine"),
    Column("job", str, "job of the cluster that executed the attempt, such as slurm 12_3; null: none did"),
    Column("submission", str, "submission of that job, a folder of the store"),
    Column("device", str, "cpu or cuda"),
    Column("device_name", str, "model of the device"),
    Column("devices", int, "devices that trained the run together; null: an earlier version recorded it"),
    Column("python", str, "version of Python"),
    Column("torch", str, "version of torch"),
    Column("commit", str, "commit of the code"),
    Column("source_digest", str, "digest of the code that decides numbers, without comments and docstrings"),
    Column("env", str, "JSON: host, device and versions as recorded"),
    Column("error", str, "traceback, or the end of the log of a worker that died; then what a cluster says about it"),
)

FAILURES = (
    RUN_ID,
    Column("attempt", int, "number of the attempt, from 1; a run may have succeeded since"),
    Column("state", str, "how the attempt ended: failed, oom, timeout, cancelled, or lost (without a commit)"),
    Column("message", str, "last line of the error"),
    Column("error", str, "traceback, or the end of the log of a worker that died; then what a cluster says about it"),
    Column("host", str, "name of the machine"),
    Column("job", str, "job of the cluster that executed the attempt, such as slurm 12_3; null: none did"),
    Column("started", datetime, "start of the attempt, UTC"),
    Column("finished", datetime, "commit of the attempt, UTC; null: lost"),
)

STUDIES = (
    Column("study", str, "name of the study, with the overrides that it was swept with: each variant has its own"),
    Column("family", str, "name of the study without overrides, which is also the name in its searches"),
    Column("question", str, "question of the study"),
    Column("expect", str, "expected result"),
    Column(
        "metric_asked", str, "JSON: the metric that compares its arms (name, direction, taken); null: the task's metric"
    ),
    RUN_ID,
    Column("baseline", bool, "whether the run is of an arm that others are compared with"),
    Column("factors", str, "JSON: the varied keys and this run's values; factors->>'model.memory.depth' reads one"),
    Column("solved", str, "JSON: the keys that the study solved for to hold a cost equal, and this run's values"),
    Column("path", str, "path of the study file"),
    Column("overrides", str, "JSON: overrides from the command line"),
)

NGRAM_BASELINES = (
    Column("data_hash", str, "SHA-256 of the text"),
    Column("valid_fraction", float, "share of the text that is held out, half for validation and half for the test"),
    Column("valid_bytes", int, "number of bytes of each half that are used; null: all"),
    Column("split", str, "part of the text: test, or valid of records from before there was a test part"),
    Column("context", int, "bytes of context of the n-gram model"),
    Column("bits_per_byte", float, "loss of the n-gram model on that part, bits per byte (interpolated Witten-Bell)"),
    Column("data_source", str, "where the text came from"),
)

BENCHES = (
    Column("bench", str, "name of the bench: its time and a hash"),
    Column("started", datetime, "start of the bench, UTC"),
    Column("host", str, "name of the machine"),
    Column("device", str, "cpu or cuda"),
    Column("device_name", str, "model of the device"),
    Column("threads", int, "threads of torch on the CPU"),
    Column("torch", str, "version of torch"),
    Column("commit", str, "commit of the code"),
    Column("model", str, "hash of the model's configuration"),
    Column("configuration", str, "the values in which the model differs from the others of the bench"),
    Column("variant", str, "sequence mixer"),
    Column("depth", int, "layers of the memory; null: the variant has no memory"),
    Column("chunk_size", int, "tokens in a chunk of the memory; null: the variant has no memory"),
    Column("length", int, "tokens in a sequence"),
    Column("batch", int, "sequences in a step"),
    Column("precision", str, "precision of matrix products: float32 or bfloat16"),
    Column("kernel", str, "kernel of the memory (auto, torch, compiled, cpu, triton), or fla of others"),
    Column("against", str, "the baseline: a variant with otherwise the same configuration, or titans-pytorch"),
    Column(
        "tokens_per_second", float, "speed of a forward and a backward pass, tokens per second, median of the rounds"
    ),
    Column(
        "baseline_tokens_per_second", float, "speed of the baseline, which took turns with the model, in the same unit"
    ),
    Column("ratio", float, "speed as a multiple of the baseline's, median of the rounds"),
    Column("ratio_low", float, "lowest ratio of a round"),
    Column("ratio_high", float, "highest ratio of a round"),
    Column("rounds", int, "measured rounds of each, after one to warm up"),
    Column("product_share", float, "FLOP/s as a share of a plain matrix product's in the same rounds, median"),
    Column("parameters", int, "trainable parameters, embeddings included"),
    Column("baseline_parameters", int, "trainable parameters of the baseline"),
    Column("flops_per_token", int, "training FLOPs per token, forward and backward, in closed form"),
    Column("peak_memory_bytes", int, "peak memory of the model and its step, bytes; null on a CPU"),
    Column("baseline_peak_memory_bytes", int, "peak memory of the baseline and its step, bytes; null on a CPU"),
    Column("seconds", str, "JSON: seconds of each round of the model, the baseline and the matrix product"),
    Column("config", str, "JSON: configuration of the model"),
    Column("versions", str, "JSON: versions of model and operator"),
)

SEARCH = (
    Column("search", str, "name of the search: the study's name, and a hash of what decides the search's trials"),
    Column("study", str, "name of the study"),
    Column("arm", str, "arm of the study that is searched; empty: the study has one arm"),
)

TRIALS = (
    *SEARCH,
    Column("number", int, "number of the trial, from 0"),
    Column(
        "origin", str, "who proposed the trial: sampler, enqueued (the study), or store (runs from before the search)"
    ),
    Column(
        "state",
        str,
        "running, done, pruned, stopped (early, by racing), diverged, oom, failed, or infeasible (never started)",
    ),
    Column("feasible", bool, "whether the trial is done and meets every constraint"),
    Column("params", str, "JSON: values by dotted key; params->>'train.lr' reads one"),
    Column(
        "value", float, "first objective, mean over seeds; of a trial that was stopped early, over the seeds it had"
    ),
    Column("objectives", str, "JSON: values of all objectives by name"),
    Column("direction", str, "minimize or maximize: which values of the first objective are better"),
    Column("directions", str, "JSON: minimize or maximize, for each objective by name"),
    Column("metric", str, "name of the first objective"),
    Column("run_ids", str, "JSON: ids of the trial's runs, one per seed"),
    Column("reports", str, "JSON: values reported to the pruner, by the number of validations"),
    Column("limits", str, "JSON: the share by which each constraint is violated; 0 or less: it is met"),
    Column("why", str, "why the trial was stopped"),
    Column("steps", int, "optimiser steps that the trial's runs took"),
    Column("planned", int, "optimiser steps that the trial's runs would have taken in full"),
    Column("started", datetime, "when the sampler proposed the trial, UTC"),
    Column("ended", datetime, "when the sampler received the result, UTC"),
)

FINALISTS = (
    *SEARCH,
    Column("number", int, "number of the trial; null: the arm as the study has it"),
    Column("params", str, "JSON: values by dotted key"),
    Column("seed", int, "seed of the run, which no trial used"),
    Column("metric", str, "name of the first objective"),
    Column("figure", str, "where the objective comes from: a column of `runs`, or a cost that is known before a run"),
    Column("direction", str, "minimize or maximize: which values of the objective are better"),
    RUN_ID,
)

VIEWS: dict[str, tuple[Column, ...]] = {
    "runs": RUNS,
    **{name: (RUN_ID, *columns) for name, columns in LOGS.items()},
    "failures": FAILURES,
    "studies": STUDIES,
    "ngram_baselines": NGRAM_BASELINES,
    "benches": BENCHES,
    "trials": TRIALS,
    "finalists": FINALISTS,
}

ARM = Column(
    "arm", str, "arm of the run, such as depth=2, in the first study by name that has the run; null: no study has it"
)
HEADLINE = Column("headline", bool, "whether it is the run's own figure at its end, over all of its split")
DIFFERENCES = (
    Column("study", str, "name of the study"),
    Column("arm", str, "arm of the run in this study"),
    Column("baseline", str, "arm that it is compared with: of several baselines, the one with most factors in common"),
    Column("seed", int, "seed of both runs"),
    RUN_ID,
    Column("baseline_run_id", str, "run of the baseline with the same seed"),
    Column("metric", str, "figure that the study compares its arms by"),
    Column("unit", str, "unit of the metric; null where the metric's name says it"),
    Column("direction", str, "minimize or maximize: which values of the metric are better"),
    Column("score", float, "value of the run"),
    Column("baseline_score", float, "value of the baseline's run"),
    Column("difference", float, "score less baseline_score"),
    Column("better", bool, "whether the run is better than the baseline's"),
)

#: What a query sees: the recorded views, with what `titans_lab.store.added` adds.
SHOWN: dict[str, tuple[Column, ...]] = {
    **VIEWS,
    **{view: (RUN_ID, ARM, *VIEWS[view][1:]) for view in ("runs", "metrics", "memory", "failures")},
    "evals": (RUN_ID, ARM, *EVALS, HEADLINE),
    "studies": tuple(part for each in STUDIES for part in ((each, ARM) if each == RUN_ID else (each,))),
    "differences": DIFFERENCES,
}

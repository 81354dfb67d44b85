"""The views that a query sees: their columns, in order, with types and units."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from titans_lab.study.config import RunConfig, layout

#: A leaf (int, float, bool, str, datetime), or names with the shapes of their values: a struct.
ColumnType = type | dict[str, Any]

SQL_NAMES: dict[type, str] = {int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN", str: "VARCHAR", datetime: "TIMESTAMP"}


@dataclass(frozen=True)
class Column:
    """A column of a view; any of its values may be null.

    Attributes:
        name: As SQL says it.
        shape: Of its values.
        meaning: What it is, with its unit.
    """

    name: str
    shape: ColumnType = field(hash=False)
    meaning: str

    @property
    def type(self) -> str:
        """As SQL says it."""
        return sql_type(self.shape)


def shape_of(hint: Any) -> ColumnType:
    """The shape of values under a type hint: a dataclass is a struct, `X | None` is X, a Literal its values' type.

    A section with nothing to set is left out: files and databases know no empty struct.
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


RUN_ID = Column("run_id", str, "hash of what decides the numbers: configuration, seed and data")

#: The sections of a configuration, each a struct.
SECTIONS = tuple(
    Column(each.name, shape_of(get_type_hints(RunConfig)[each.name]), f"configuration, section `{each.name}`")
    for each in fields(RunConfig)
)

#: What a worker logs of its training.
METRICS = (
    Column("step", int, "optimiser steps so far"),
    Column("tokens", int, "training tokens so far"),
    Column("loss", float, "training loss, mean of the steps since the last row; of a text in bits per byte"),
    Column("valid_loss", float, "loss on a part of the validation data; null where it was not taken"),
    Column("valid_score", float, "the task's metric on that part"),
    Column("lr", float, "learning rate"),
    Column("grad_norm", float, "norm of the gradient before clipping"),
    Column("tokens_per_second", float, "training tokens a second since the last row"),
    Column("utilisation", float, "training FLOP/s over those of a plain product, measured on the device at the start"),
    Column("step_seconds", float, "seconds a step, mean since the last row"),
    Column("elapsed_seconds", float, "seconds since training began"),
    Column("peak_memory_bytes", int, "most memory held so far, bytes"),
)

#: What a worker logs of its memories: means over the looked-at sequences, and over positions.
MEMORY = (
    Column("step", int, "optimiser steps so far"),
    Column("tokens", int, "training tokens so far"),
    Column("block", int, "block of the model, from 0"),
    Column("layer", int, "layer of the memory, from 0, a gain the last; null for the loss, which they share"),
    Column("head", int, "head of the memory, from 0"),
    Column("position", int, "first token of the stretch that this is the mean of; null: of the whole window"),
    Column("loss", float, "inner loss at the weights that a token's gradient is taken at"),
    Column("gradient_norm", float, "norm of that gradient; null, with what follows, for a layer that is not written"),
    Column("theta", float, "step size"),
    Column("eta", float, "momentum, 0 to 1; mean over channels"),
    Column("alpha", float, "forgetting, 0 to 1; mean over channels"),
    Column("weight_norm", float, "norm of the weights that a token finds over the initial one; null where that is 0"),
    Column("staleness", float, "distance of the gradient from that at the weights that a token finds, over its norm"),
)

#: What a worker logs of its last evaluation, and what `titans-lab eval` finds out later.
EVALS = (
    Column("task", str, "what was evaluated, such as text or mqar"),
    Column("metric", str, "name of the figure: loss, accuracy, ..."),
    Column("unit", str, "of its values"),
    Column("direction", str, "minimize or maximize: which values are better"),
    Column("split", str, "part of the data: valid or test"),
    Column("setting", str, "which cases, such as pairs=8; null, with length, depth and position: all of the split"),
    Column("length", int, "tokens of their sequences, where these differ"),
    Column("depth", float, "place of what is to be found, from 0, the start, to 1, where it differs"),
    Column("position", int, "first place in the window of the stretch that this is the mean of, up to the next one's"),
    Column("baseline", str, "whose figure it is, such as repeat-last; null: the run's model's"),
    Column("value", float, "the figure"),
    Column("count", int, "what it is the mean of: tokens, answers or examples"),
    Column("evaluation", str, "hash of what was asked of the finished run; null: its own figures, at its end"),
    Column("finished", datetime, "end of that later evaluation, UTC"),
    Column("note", str, "what the figure must not be taken for, and what lengths are counted in"),
)

#: What a worker logs, row by row while it runs, table by table; each is a view, with the run's id before it.
LOGS: dict[str, tuple[Column, ...]] = {"metrics": METRICS, "memory": MEMORY, "evals": EVALS}

RUNS = (
    RUN_ID,
    Column("state", str, "pending, running, done, diverged, pruned, failed, oom, timeout, cancelled or lost"),
    Column("attempt", int, "number of the last attempt, from 1"),
    Column("seed", int, "of the initial values and the batches"),
    *SECTIONS,
    Column("config", str, "JSON: the configuration as recorded, with fields that no section has any more"),
    Column("data_hash", str, "SHA-256 of the data"),
    Column("data_source", str, "where the data came from"),
    Column("versions", str, "JSON: versions of the parts that are in the identity"),
    Column("plugins", str, "JSON: SHA-256 of each plugin that the run uses, by the plugin's name"),
    Column("parameters", int, "trainable parameters, embeddings included"),
    Column("flops_per_token", int, "training FLOPs a token, forward and backward"),
    Column("state_bytes", int, "what generation carries from token to token, bytes a sequence"),
    Column("metric", str, "name of the figure that the task is judged by"),
    Column("unit", str, "of its values"),
    Column("direction", str, "minimize or maximize: which of its values are better"),
    Column("score", float, "its final value; of a text the same as the loss"),
    Column("loss", float, "final validation loss: of a text in bits per byte, of other tasks what training lowers"),
    Column("train_loss", float, "last training loss, in the same unit"),
    Column("tokens", int, "training tokens done"),
    Column("steps", int, "optimiser steps done"),
    Column("tokens_per_second", float, "training tokens a second, median over the log rows after the first"),
    Column("utilisation", float, "training FLOP/s at that speed over those of a plain product on the device"),
    Column(
        "predicted_seconds", float, "wall_seconds as `plan` expected them at launch; null: nothing like it was known"
    ),
    Column("wall_seconds", float, "duration of the training, seconds; with that of the attempts it went on from"),
    Column("peak_memory_bytes", int, "most memory held, bytes"),
    Column("diverged_step", int, "step at which training diverged; null where it did not"),
    Column("micro_batch", int, "examples that passed through the model at a time"),
    Column("oom_retries", int, "how often that was halved, because memory ran out"),
    Column("resumed_from", {"attempt": int, "step": int}, "checkpoint that the last attempt began with; null: none"),
    Column("deterministic", bool, "whether the same device, torch, threads, kernel, micro-batch give the same bits"),
    Column("started", datetime, "start of the last attempt, UTC"),
    Column("finished", datetime, "commit of the last attempt, UTC"),
    Column("host", str, "name of the machine"),
    Column("device", str, "cpu or cuda"),
    Column("device_name", str, "model of the device"),
    Column("python", str, "version of Python"),
    Column("torch", str, "version of torch"),
    Column("commit", str, "commit of the code"),
    Column("env", str, "JSON: all that was recorded of host, device and versions"),
    Column("error", str, "traceback, or the end of the log of a worker that died"),
)

FAILURES = (
    RUN_ID,
    Column("attempt", int, "number of the attempt, from 1; a run may have succeeded since"),
    Column("state", str, "how it ended: failed, oom, timeout, cancelled, or lost: without a commit"),
    Column("message", str, "last line of the error"),
    Column("error", str, "traceback, or the end of the log of a worker that died"),
    Column("host", str, "name of the machine"),
    Column("started", datetime, "start of the attempt, UTC"),
    Column("finished", datetime, "its commit, UTC; null: lost"),
)

STUDIES = (
    Column("study", str, "name of the study, with the overrides that it was swept with: each variant has its own"),
    Column("family", str, "name of the study without overrides, which its searches have too"),
    Column("question", str, "what it asks"),
    Column("expect", str, "what was expected"),
    Column("metric_asked", str, "JSON: by what its arms are compared (name, direction, at); null: the task's metric"),
    RUN_ID,
    Column("baseline", bool, "whether it is of an arm that others are compared with"),
    Column("factors", str, "JSON: the varied keys and this run's values; factors->>'model.memory.depth' reads one"),
    Column("solved", str, "JSON: the keys that the study solved for to hold a cost equal, and this run's values"),
    Column("path", str, "study file"),
    Column("overrides", str, "JSON: overrides of the command line"),
)

NGRAM_BASELINES = (
    Column("data_hash", str, "SHA-256 of the text"),
    Column("valid_fraction", float, "share of the text held out for validation"),
    Column("valid_bytes", int, "bytes of it that are validated on; null: all"),
    Column("context", int, "bytes of context of the n-gram model"),
    Column("bits_per_byte", float, "its validation loss, bits per byte (interpolated Witten-Bell)"),
    Column("data_source", str, "where the text came from"),
)

BENCHES = (
    Column("bench", str, "name of the bench: when, and a hash"),
    Column("started", datetime, "start of the bench, UTC"),
    Column("host", str, "name of the machine"),
    Column("device", str, "cpu or cuda"),
    Column("device_name", str, "model of the device"),
    Column("threads", int, "of torch on the CPU"),
    Column("torch", str, "version of torch"),
    Column("commit", str, "commit of the code"),
    Column("model", str, "hash of what decides the model: equal for equal configurations"),
    Column("configuration", str, "what told it from the bench's others"),
    Column("variant", str, "sequence mixer"),
    Column("depth", int, "layers of the memory; null where there is none"),
    Column("chunk_size", int, "tokens a chunk of the memory; null where there is none"),
    Column("length", int, "tokens of a sequence"),
    Column("batch", int, "sequences a step"),
    Column("precision", str, "of the products: float32 or bfloat16"),
    Column("kernel", str, "auto, torch, compiled or triton of the memory, or fla of its rivals"),
    Column("against", str, "the baseline: a variant, with otherwise the same configuration, or titans-pytorch"),
    Column("tokens_per_second", float, "of forward and backward, median of the rounds"),
    Column("baseline_tokens_per_second", float, "the same of the baseline, which took turns with the model"),
    Column("ratio", float, "speed over the baseline's, median of the rounds"),
    Column("ratio_low", float, "its lowest"),
    Column("ratio_high", float, "its highest"),
    Column("rounds", int, "turns that each took, after one to warm up"),
    Column("product_share", float, "FLOP/s over a plain matrix product's in the same rounds, median"),
    Column("parameters", int, "trainable parameters, embeddings included"),
    Column("baseline_parameters", int, "those of the baseline"),
    Column("flops_per_token", int, "training FLOPs a token, forward and backward, in closed form"),
    Column("peak_memory_bytes", int, "most memory that the model and its step held; null on a CPU"),
    Column("baseline_peak_memory_bytes", int, "the same of the baseline"),
    Column("seconds", str, "JSON: seconds of each round of the model, the baseline and the product"),
    Column("config", str, "JSON: the model's configuration"),
    Column("versions", str, "JSON: versions of the model's parts"),
)

SEARCH = (
    Column("search", str, "name of the search: its study's, and a hash of what decides its points"),
    Column("study", str, "name of the study"),
    Column("arm", str, "arm of the study that is searched; empty where it is the only one"),
)

TRIALS = (
    *SEARCH,
    Column("number", int, "of the trial, from 0"),
    Column("origin", str, "who proposed it: sampler, enqueued (the study), or store (runs that were there already)"),
    Column(
        "state",
        str,
        "running, done, pruned, stopped by racing, diverged, oom, failed, or infeasible: never started",
    ),
    Column("feasible", bool, "whether it is done and meets every bound"),
    Column("params", str, "JSON: values by dotted key; params->>'train.lr' reads one"),
    Column("value", float, "first objective, mean over seeds; of one stopped early, of what there was of it"),
    Column("objectives", str, "JSON: all of them by name"),
    Column("direction", str, "minimize or maximize: which values of the first objective are better"),
    Column("directions", str, "JSON: minimize or maximize, of each objective by name"),
    Column("metric", str, "name of the first objective"),
    Column("run_ids", str, "JSON: its runs, one a seed"),
    Column("reports", str, "JSON: what the pruner was told, by the count of validations"),
    Column("limits", str, "JSON: by what share each bound is violated; at most 0: it holds"),
    Column("why", str, "what stopped it"),
    Column("steps", int, "optimiser steps that its runs took"),
    Column("planned", int, "optimiser steps that they would have taken to their ends"),
    Column("started", datetime, "when it was asked for, UTC"),
    Column("ended", datetime, "when it was told, UTC"),
)

FINALISTS = (
    *SEARCH,
    Column("number", int, "of the trial; null: the arm as the study has it"),
    Column("params", str, "JSON: values by dotted key"),
    Column("seed", int, "that no trial had"),
    Column("metric", str, "name of the first objective"),
    Column("figure", str, "which figure of a run that is: a column of `runs`, or one known before"),
    Column("direction", str, "minimize or maximize: which of its values are better"),
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

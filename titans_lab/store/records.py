"""The kinds of records, and the fields that each of them must have.

Every record is read through a function of this module. Each raises FileNotFoundError where the file is missing, and
DamagedError where it cannot be read or has another form.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from titans_lab.run.metric import COSTS, MEASURED, Direction, Taken
from titans_lab.run.run import config_in
from titans_lab.store.columns import BENCHES, EVALS, LOGS, RUNS, SECTIONS, TRIALS
from titans_lab.store.files import DamagedError, read_json
from titans_lab.store.shapes import (
    BOOLEAN,
    COUNT,
    INTEGER,
    NAME,
    NUMBER,
    OBJECT,
    SCALAR,
    TEXT,
    Misfit,
    Shape,
    anything,
    at_least,
    fields,
    instance,
    items,
    mapping,
    one_of,
    optional,
    row_of,
)
from titans_lab.store.status import COMMITTED, COMMITTED_FILE, STOPPED, Status

Record = dict[str, Any]


class UnknownConfiguration(DamagedError):
    """A sound record has a configuration that only another version of titans-lab can build."""


#: The states of a trial. `stopped` means stopped before its last seed by racing. `infeasible` means never started,
#: because a cost that is known before a run violates a constraint.
TRIAL_STATES = frozenset({"running", "done", "pruned", "stopped", "diverged", "oom", "failed", "infeasible"})


def _time(value: Any, where: str) -> None:
    TEXT(value, where)
    try:
        datetime.fromisoformat(value)
    except ValueError as error:
        raise Misfit(where, f"{value!r} is not a time") from error


_OBJECTS = ("config", "versions", "plugins", "env")  # JSON in a row of a view, objects in a record
_FIGURES = [column for column in RUNS if column.name not in _OBJECTS]
_ENV = fields(
    {},
    {"micro_batch": at_least(1), "oom_retries": at_least(0), "threads": at_least(1), "devices": at_least(1)}
    | {"nodes": at_least(1), "shard": BOOLEAN, "kernel": TEXT},
    _FIGURES,
)
_DIGEST = fields({"bytes": at_least(0), "sha256": TEXT})
_STATUS = fields(
    {
        "attempt": at_least(1),
        "state": one_of(COMMITTED),
        "summary": fields({}, columns=_FIGURES),
        "error": optional(TEXT),
        "env": _ENV,
        "finished": _time,
        "files": mapping(_DIGEST),
    }
)
_RUN = fields(
    {"run_id": NAME, "seed": INTEGER, "data_hash": TEXT, "versions": mapping(INTEGER)}
    | {"config": fields({}, columns=SECTIONS)},
    {"plugins": mapping(TEXT), "parent": NAME, "steps_before": at_least(0)},
    _FIGURES,
)
_METRIC = fields({"name": TEXT, "direction": one_of(get_args(Direction)), "taken": one_of(get_args(Taken))})
_STUDY_RUN = fields({"run_id": NAME}, {"factors": mapping(SCALAR), "solved": OBJECT, "baseline": BOOLEAN})
_STUDY = fields(
    {
        "name": NAME,
        "runs": items(_STUDY_RUN),
    },
    {"question": TEXT, "expect": TEXT, "family": TEXT, "path": TEXT, "overrides": items(TEXT), "metric": _METRIC},
)
_NGRAM_BASELINES = fields(
    {"data_hash": TEXT, "bits_per_byte": mapping(NUMBER, COUNT)},
    {"data_source": TEXT, "valid_fraction": NUMBER, "valid_bytes": INTEGER, "split": TEXT},
)
_JSON: dict[str, Shape] = {"seconds": anything, "config": anything, "versions": OBJECT}
_BENCH = fields({"rows": items(fields({}, _JSON, BENCHES))}, _JSON, BENCHES)
_OBJECTIVE = row_of(TEXT, one_of((*COSTS, *MEASURED)), one_of(get_args(Direction)))
_SEARCH = fields({"study": NAME, "arm": TEXT, "objectives": items(_OBJECTIVE, least=1)})
_VALUES = items(NUMBER)
_TRIAL = fields(
    {
        "number": at_least(0),
        "params": mapping(SCALAR),
        "state": one_of(TRIAL_STATES),
        "runs": items(NAME),
        "reports": mapping(NUMBER, COUNT),
        "limits": mapping(NUMBER),
        "attributes": OBJECT,
    },
    {"values": _VALUES, "by_seed": items(_VALUES), "told": _VALUES},
    TRIALS,
)
_FINALIST = fields({"number": optional(at_least(0)), "params": mapping(SCALAR), "seed": INTEGER, "run_id": NAME})
_FINALISTS = fields({"runs": items(_FINALIST)}, {"coordinator": at_least(0)})
_STOP = fields({"state": one_of(STOPPED), "why": TEXT}, {"resumable": BOOLEAN})
_EXPLAINED = fields({"why": TEXT})
_SUBMISSION = fields(
    {"name": NAME, "study": TEXT, "engine": TEXT, "user": TEXT, "submitted": _time, "jobs": items(TEXT)}
    | {"workers": at_least(1), "runs": items(NAME), "code": mapping(row_of(TEXT, TEXT)), "libraries": mapping(TEXT)},
    {"profile": OBJECT, "command": items(TEXT), "request": TEXT, "path": TEXT},
)
_ENDS = fields({"workers": mapping(TEXT), "over": BOOLEAN})
_AGAIN = fields({"why": TEXT})
_EVALUATION = fields({"rows": items(fields({}, columns=EVALS))}, {"finished": _time})
_VERIFIED = fields({"rows": items(OBJECT)})
_MANIFEST = fields(
    {
        "form": TEXT,
        "files": mapping(fields({"name": NAME, "bytes": at_least(0), "sha256": TEXT})),
        "runs": mapping(row_of(items(INTEGER), one_of(COMMITTED), _time, TEXT), NAME),
    }
)
_CONTENTS = fields({"form": INTEGER, "files": mapping(_DIGEST)})
_STATE = fields({"step": at_least(0), "optimizer": OBJECT})
_CHECKPOINT = fields(
    {
        "state": fields(
            {
                "step": at_least(0),
                "model": OBJECT,
                "optimizer": OBJECT,
                "interval": fields({"figures": items(instance(tuple)), "seconds": NUMBER}),
                "rates": items(NUMBER),
                "last_loss": NUMBER,
                "peak": at_least(0),
                "elapsed": NUMBER,
            },
            {"average": OBJECT, "plateau": fields({"best": NUMBER, "since": at_least(0), "step": at_least(0)})},
        ),
        "logs": mapping(_DIGEST, one_of(LOGS)),
    }
)


def read_status(path: Path) -> Status:
    """Return the commit of an attempt."""
    record = _read(path, _STATUS)
    for name in record["files"]:
        match = COMMITTED_FILE.fullmatch(name)
        if not match or int(match[1]) != record["attempt"]:
            raise DamagedError(path, f"is of another form: files: {name!r} is not of attempt {record['attempt']}")
    return Status(**{name: record[name] for name in Status.__annotations__})


def read_run(path: Path) -> Record:
    """Return a run's record, from the run.json in its folder.

    Raise UnknownConfiguration where this version has no such configuration and the run uses no plugin.
    """
    record = _read(path, _RUN, run_id=path.parent.name)
    if not record.get("plugins") and config_in(json.dumps(record["config"])) is None:
        raise UnknownConfiguration(path, "has a configuration that this version of titans-lab does not know")
    return record


def read_env(path: Path) -> Record:
    """Return the host, device and versions of an attempt."""
    return _read(path, _ENV)


def read_stop(path: Path) -> Record:
    """Return a request to end an attempt: the state to commit and the reason."""
    return _read(path, _STOP)


def read_explained(path: Path) -> Record:
    """Return what a cluster says about the end of an attempt."""
    return _read(path, _EXPLAINED)


def read_submission(path: Path) -> Record:
    """Return a submission of workers to a cluster."""
    return _read(path, _SUBMISSION, name=path.parent.name)


def read_ends(path: Path) -> Record:
    """Return how the workers of a submission ended, and whether all of them have."""
    return _read(path, _ENDS)


def read_again(path: Path) -> Record:
    """Return a request for another attempt: the reason."""
    return _read(path, _AGAIN)


def read_evaluation(path: Path) -> Record:
    """Return a later evaluation."""
    return _read(path, _EVALUATION)


def read_study(path: Path) -> Record:
    """Return a study, as last swept."""
    return _read(path, _STUDY, name=path.stem)


def read_ngram_baselines(path: Path) -> Record:
    """Return the losses of n-gram models on a split of a text, by bytes of context."""
    return _read(path, _NGRAM_BASELINES)


def read_bench(path: Path) -> Record:
    """Return the measurements of a bench."""
    return _read(path, _BENCH)


def read_verified(path: Path) -> Record:
    """Return the results of a verification that passed."""
    return _read(path, _VERIFIED)


def read_search(path: Path) -> Record:
    """Return the definition of a search: study, arm, and name, source and direction of each objective."""
    return _read(path, _SEARCH)


def read_trial(path: Path) -> Record:
    """Return a trial of a search."""
    return _read(path, _TRIAL, number=int(path.stem))


def read_finalists(path: Path) -> Record:
    """Return the runs that repeat the best trials of a search with fresh seeds."""
    return _read(path, _FINALISTS)


def read_manifest(path: Path) -> Record:
    """Return the manifest of a compaction: the file of each view, and marks, state, end and commit hash of each run."""
    return _read(path, _MANIFEST)


def read_contents(path: Path) -> Record:
    """Return the list of contents of an archive: size and SHA-256 of each path."""
    return _read(path, _CONTENTS)


def check_state(path: Path, content: Any) -> None:
    """Raise DamagedError where the content of `path` is no state of a finished training: its steps, its optimizer's."""
    _check(path, content, _STATE)


def check_checkpoint(path: Path, content: Any) -> None:
    """Raise DamagedError where the content of `path` is no checkpoint: a trainer's state and digests of the logs."""
    _check(path, content, _CHECKPOINT)


def _read(path: Path, shape: Shape, **own: object) -> Record:
    """Return the record in a file. `own` has the values that the record must have because its path has them."""
    record = read_json(path)
    _check(path, record, shape)
    for key, value in own.items():
        if record[key] != value:
            raise DamagedError(path, f"is of another form: its {key} is not {value}")
    return record


def _check(path: Path, record: Any, shape: Shape) -> None:
    try:
        shape(record, "")
    except Misfit as misfit:
        raise DamagedError(path, f"is of another form: {misfit}") from misfit

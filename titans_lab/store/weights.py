"""Find a run by the start of its id, and read its final weights and state, checked against its commit."""

from __future__ import annotations

from titans_lab.errors import UserError
from titans_lab.store.folder import RunFolder
from titans_lab.store.logs import committed_bytes
from titans_lab.store.status import Status
from titans_lab.store.store import Store

AGAIN = "titans-lab rerun STUDY --state done log.{key}=true"


def find_run(store: Store, prefix: str) -> RunFolder:
    """Return the run whose id begins with `prefix`. Raise UserError where none or several do."""
    found = [folder for folder in store.folders() if prefix and folder.run_id.startswith(prefix)]
    if not found:
        raise UserError(
            f"{prefix!r}: no run in {store.root} has an id that begins so; `titans-lab query 'select run_id, model, "
            "state from runs'` lists them, and --store names another store"
        )
    if len(found) > 1:
        names = ", ".join(folder.run_id for folder in found[:4])
        raise UserError(f"{prefix!r}: {len(found)} runs in {store.root} begin so ({names}); give more of the id")
    return found[0]


def check_weights(folder: RunFolder) -> Status:
    """Return the commit of a run that has weights. Raise UserError, with the remedy, for one that has none."""
    return _check(folder, "weights", "its weights are", "its weights were not kept because log.weights was false")


def check_state(folder: RunFolder) -> Status:
    """Return the commit of a run that has weights and the state of its training. Raise UserError for any other."""
    check_weights(folder)
    return _check(folder, "keep_state", "its state is", "its state was not kept because log.keep_state was false")


def read_weights(folder: RunFolder) -> bytes:
    """Return the content of a run's weights file.

    Raises:
        UserError: The run has no weights: see `check_weights`.
        DamagedError: The file is not what was committed.
    """
    return _read(folder, check_weights(folder), "weights")


def weights_digest(folder: RunFolder) -> str:
    """Return the SHA-256 of a run's weights file, as committed. Raise UserError where it has none."""
    status = check_weights(folder)
    return str(status.files[_name(folder, status, "weights")]["sha256"])


def read_state(folder: RunFolder) -> bytes:
    """Return the content of the file with the state of a run's training.

    Raises:
        UserError: The run has none: see `check_state`.
        DamagedError: The file is not what was committed.
    """
    return _read(folder, check_state(folder), "keep_state")


def _check(folder: RunFolder, key: str, what: str, missing: str) -> Status:
    status = folder.status()
    if status is None or status.state != "done":
        raise UserError(f"run {folder.run_id}: is {folder.state()}, not done; sweep its study to the end")
    name, again = _name(folder, status, key), f"to train it again: {AGAIN.format(key=key)}"
    if name not in status.files:
        raise UserError(f"run {folder.run_id}: {missing}; {again}")
    if not folder.committed_path(name).exists():
        raise UserError(f"run {folder.run_id}: {what} not in this store, as after `export --no-weights`; {again}")
    return status


def _read(folder: RunFolder, status: Status, key: str) -> bytes:
    name = _name(folder, status, key)
    return committed_bytes(folder.committed_path(name), status.files[name])


def _name(folder: RunFolder, status: Status, key: str) -> str:
    """Return the committed name of the file that a key of `log` asks for."""
    attempt = folder.attempt(status.attempt)
    path = attempt.weights_path if key == "weights" else attempt.state_path
    return path.relative_to(folder.path).as_posix()

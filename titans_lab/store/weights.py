"""Find a run by the start of its id, and read its final weights, checked against its commit."""

from __future__ import annotations

from titans_lab.errors import UserError
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.logs import committed_bytes
from titans_lab.store.status import Status
from titans_lab.store.store import Store

AGAIN = "titans-lab rerun STUDY --state done log.weights=true"


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
    status = folder.status()
    if status is None or status.state != "done":
        raise UserError(f"run {folder.run_id}: is {folder.state()}, not done; sweep its study to the end")
    if _name(_attempt(folder, status)) not in status.files:
        raise UserError(
            f"run {folder.run_id}: its weights were not kept because log.weights was false; to train it again: {AGAIN}"
        )
    if not _attempt(folder, status).weights_path.exists():
        raise UserError(
            f"run {folder.run_id}: its weights are not in this store, as after `export --no-weights`; to train it "
            f"again: {AGAIN}"
        )
    return status


def read_weights(folder: RunFolder) -> bytes:
    """Return the content of a run's weights file.

    Raises:
        UserError: The run has no weights: see `check_weights`.
        DamagedError: The file is not what was committed.
    """
    status = check_weights(folder)
    name = _name(_attempt(folder, status))
    return committed_bytes(folder.committed_path(name), status.files[name])


def _attempt(folder: RunFolder, status: Status) -> Attempt:
    return Attempt(folder.path / "attempts" / str(status.attempt))


def _name(attempt: Attempt) -> str:
    return attempt.weights_path.relative_to(attempt.folder.path).as_posix()

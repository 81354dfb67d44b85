"""Save the weights and the training state that a run ends with, and load them where another run begins with them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import titans
from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.run.run import config_of
from titans_lab.store.files import write_bytes
from titans_lab.store.folder import Attempt, RunFolder
from titans_lab.store.records import check_state as check_shape
from titans_lab.store.store import Store
from titans_lab.store.weights import read_state, read_weights, weights_digest

MOST_NAMED = 3  # tensors that a message names


def save_weights(attempt: Attempt, model: nn.Module) -> None:
    """Write a model's parameters and buffers as float32 tensors on the CPU. The attempt's commit lists the file."""
    tensors = {name: tensor.detach().to("cpu", torch.float32) for name, tensor in model.state_dict().items()}
    write_bytes(attempt.weights_path, _saved(tensors))


def save_state(attempt: Attempt, steps: int, optimizer: Mapping[str, Any]) -> None:
    """Write the steps that a training has behind it, and its optimizer's state. The attempt's commit lists the file."""
    write_bytes(attempt.state_path, _saved({"step": steps, "optimizer": dict(optimizer)}))


@dataclass(frozen=True)
class Beginning:
    """What a run begins with instead of initial values.

    Attributes:
        tensors: The parent's parameters and buffers by name.
        digest: The SHA-256 of the file with the weights.
        steps: The steps that are behind the parent's training, where it goes on. 0: a new training begins.
        optimizer: The optimizer's state after these, or None where a new training begins.
        whose: The parent, in words.
    """

    tensors: Mapping[str, Tensor]
    digest: str
    steps: int
    optimizer: Mapping[str, Any] | None
    whose: str

    def load_into(self, model: nn.Module) -> None:
        """Give a model the parent's parameters and buffers.

        Raises:
            UserError: A tensor is missing on one side, or has another shape. The message names it.
        """
        own = model.state_dict()
        faults = [*_differing(self.tensors, own, self.whose)]
        if faults:
            more = f"; and {len(faults) - MOST_NAMED} more tensors" if len(faults) > MOST_NAMED else ""
            remedy = "set the keys of model that decide shapes as the parent has them"
            raise UserError(f"init: {'; '.join(faults[:MOST_NAMED])}{more}; {remedy}")
        model.load_state_dict(dict(self.tensors))


def beginning_of(config: RunConfig, record: Mapping[str, Any], store: Store) -> Beginning | None:
    """Return what a recorded run begins with, or None where its seed draws the initial values.

    Raises:
        UserError: The store does not have what is needed, or another version of the model wrote it.
        DamagedError: A file is not what was committed.
    """
    parent = record.get("parent")
    if parent is None:
        return None
    folder = store.run(parent)
    tensors = load_tensors(folder)
    steps, optimizer = (0, None) if config.init.weights_only else _load_state(folder, config)
    return Beginning(tensors, weights_digest(folder), steps, optimizer, f"run {folder.run_id}")


def load_tensors(folder: RunFolder) -> dict[str, Tensor]:
    """Return the parameters and buffers that a run ended with, by name.

    Raises:
        UserError: The run has no weights, they do not load, or another version of the model wrote them.
        DamagedError: The file is not what was committed.
    """
    content = read_weights(folder)
    version = folder.record()["versions"]["model"]
    if version != titans.VERSIONS["model"]:
        raise UserError(
            f"run {folder.run_id}: was trained by version {version} of the model, and this is version "
            f"{titans.VERSIONS['model']}, another function of the same weights; sweep its study again"
        )
    tensors = _loaded(content, folder, "weights")
    if not isinstance(tensors, dict) or not all(isinstance(each, Tensor) for each in tensors.values()):
        raise UserError(
            f"run {folder.run_id}: its weights do not load (they are no tensors by name); sweep its study again"
        )
    return tensors


def _load_state(folder: RunFolder, config: RunConfig) -> tuple[int, Mapping[str, Any]]:
    """Return the steps and the optimizer's state that a training ended with, if the run has the same optimizer."""
    content, theirs = read_state(folder), config_of(folder.record()).train
    for key in ("optimizer", "decay_groups"):  # the latter decides the order of the parameters
        if getattr(theirs, key) != getattr(config.train, key):
            raise UserError(f"init.weights_only: the parent has another train.{key}; set it to {getattr(theirs, key)}")
    state = _loaded(content, folder, "state")
    check_shape(folder.path, state)
    return state["step"], state["optimizer"]


def _loaded(content: bytes, folder: RunFolder, what: str) -> Any:
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler of bytes from elsewhere raises whatever they lead it to
        first = (str(error).splitlines() or [""])[0]
        raise UserError(f"run {folder.run_id}: its {what} do not load ({first}); sweep its study again") from error


def _saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _differing(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], whose: str) -> list[str]:
    """Return a line for each tensor that one side lacks, or whose shapes differ."""
    shapes = {
        name: tuple(list(side[name].shape) if name in side else None for side in (theirs, ours))
        for name in dict.fromkeys((*ours, *theirs))
    }
    return [
        f"tensor {name}: {whose} has {_shape(there)}, and this run has {_shape(here)}"
        for name, (there, here) in shapes.items()
        if there != here
    ]


def _shape(shape: list[int] | None) -> str:
    return "none of this name" if shape is None else f"the shape {shape}"

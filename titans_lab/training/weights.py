"""Save the weights that a run ends with, which `titans_lab.evaluation.trained` loads."""

from __future__ import annotations

import io

import torch
from torch import nn

from titans_lab.store.files import write_bytes
from titans_lab.store.folder import Attempt


def save_weights(attempt: Attempt, model: nn.Module) -> None:
    """Write a model's parameters and buffers as float32 tensors on the CPU. The attempt's commit lists the file."""
    tensors = {name: tensor.detach().to("cpu", torch.float32) for name, tensor in model.state_dict().items()}
    content = io.BytesIO()
    torch.save(tensors, content)
    write_bytes(attempt.weights_path, content.getvalue())

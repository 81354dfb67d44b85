"""Requests to continue prompts with a finished run. This module needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from titans_lab.errors import UserError
from titans_lab.executors.answers import answers
from titans_lab.executors.devices import Device
from titans_lab.store.store import Store


@dataclass(frozen=True)
class SampleRequest:
    """One continuation.

    Attributes:
        prompt: The text that it begins with.
        tokens: The number of tokens to draw.
        temperature: The divisor of the logits; 0 takes the most likely token.
        seed: The seed of the draws.
    """

    prompt: str
    tokens: int
    temperature: float
    seed: int


def samples(store: Store, run_id: str, asked: Sequence[SampleRequest], device: Device) -> Iterator[str]:
    """Yield the continuation of each prompt, from a process with torch.

    Raises:
        UserError: The run reads no text, or a prompt is empty.
        EndedEarly: The process broke.
    """
    question = {
        "store": str(store.root.absolute()),
        "run": run_id,
        "asked": [dataclasses.asdict(each) for each in asked],
    }
    arguments = ["--device", device.kind]
    with closing(answers("titans_lab.evaluation.sample", arguments, question, device.environment())) as given:
        for _, answer in zip(asked, given, strict=False):
            if "wrong" in answer:
                raise UserError(answer["wrong"])
            yield answer["text"]

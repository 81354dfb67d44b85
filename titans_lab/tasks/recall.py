"""The base of tasks that ask questions about a long prompt, for every kind of `Questions`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_lab.data.parts import Part
from titans_lab.run.config import RunConfig
from titans_lab.tasks.babilong import BabilongSettings
from titans_lab.tasks.needle import NeedleSettings
from titans_lab.tasks.question import Question
from titans_lab.tasks.task import IGNORED, Batch, Score, Task, precise


class Questions(Protocol):
    """A source of numbered questions."""

    def question(self, number: int, length: int, answer_tokens: int | None = None) -> Question:
        """Return question `number`, whose prompt and answer have `length` tokens together."""


class RecallTask(Task):
    """A task of prompts with answers, of `train.seq_len` bytes. Each part of the data has questions of its own."""

    settings: NeedleSettings | BabilongSettings

    def __init__(self, config: RunConfig, digest: str, questions: Mapping[Part, Questions]) -> None:
        super().__init__(config.task.settings, digest, config.data_source())
        self.questions = questions
        self.length, self.batch = config.train.seq_len, config.train.batch_size

    def resized(self, config: RunConfig, seed: int) -> RecallTask:
        """Return the task of the same questions with prompts of another length."""
        return type(self)(config, self.digest, self.questions)

    def sample(self, step: int) -> Batch:
        """Return inputs, targets and the targets of the answer `[batch, length]`. Every step has new questions."""
        return self._pair(self.questions["train"], range(step * self.batch, (step + 1) * self.batch))

    def examples(self, part: Part, limit: int | None = None) -> Iterator[Batch]:
        """Yield the questions of a part, `test_examples` or as many as have about `limit` tokens."""
        count = self.settings.test_examples
        count = count if limit is None else min(count, max(1, limit // self.length))
        for first in range(0, count, self.batch):
            yield self._pair(self.questions[part], range(first, min(first + self.batch, count)))

    def _pair(self, questions: Questions, numbers: range) -> Batch:
        asked = [questions.question(number, self.length + 1) for number in numbers]
        texts = np.stack([np.frombuffer(each.prompt + each.answer, np.uint8) for each in asked])
        tokens = torch.from_numpy(texts.astype(np.int64))
        inputs, targets, wanted = tokens[:, :-1], tokens[:, 1:], tokens[:, 1:].clone()
        for row, each in zip(wanted, asked, strict=True):
            counted = torch.zeros(len(row), dtype=torch.bool)
            for begin, end in (*each.answered, (len(each.prompt), len(each.prompt) + len(each.answer))):
                counted[begin - 1 : end - 1] = True  # a token is the target of the one before it
            row[~counted] = IGNORED
        return inputs, wanted if self.settings.loss == "answer" else targets, wanted

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss `[batch]` in nats, summed over the tokens that count."""
        return _losses(model(batch[0]), batch[1]).sum(1)

    def terms(self, batch: Batch) -> int:
        """Return the number of tokens that count."""
        return _count(batch[1])

    def evaluate(self, model: nn.Module, device: torch.device, limit: int | None = None) -> list[Score]:
        """Return the loss, and the share of answers that greedy decoding gives, whose every byte is the likeliest one.

        With a limit, evaluate validation questions; without one, all of these and the test questions.
        """
        parts: tuple[Part, ...] = ("valid",) if limit is not None else ("valid", "test")
        return [score for part in parts for score in self._judge(model, device, part, limit)]

    def evaluate_test(self, model: nn.Module, device: torch.device) -> list[Score]:
        """Return loss and accuracy over the test questions."""
        return self._judge(model, device, "test", None)

    def _judge(self, model: nn.Module, device: torch.device, part: Part, limit: int | None) -> list[Score]:
        loss, right, terms, count = 0.0, 0, 0, 0
        for batch in self.examples(part, limit):
            inputs, targets, wanted = (x.to(device) for x in batch)
            logits = model(inputs)
            loss += float(_losses(logits, targets).double().sum())
            right += int(((logits.argmax(-1) == wanted) | (wanted == IGNORED)).all(1).sum())
            terms, count = terms + _count(targets), count + len(targets)
        mean = Score(self.settings.LOSS, loss / terms, terms, part)
        return [mean, Score(self.settings.METRIC, right / count, count, part)]

    def inputs(self, tokens: int) -> Tensor:
        """Return the first validation questions `[batch, length]`."""
        return next(self.examples("valid", min(tokens, self.batch * self.length)))[0]


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each token `[batch, length]` in nats, 0 where the target is `IGNORED`."""
    losses = F.cross_entropy(precise(logits.flatten(0, 1)), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return losses.view_as(targets)


def _count(targets: Tensor) -> int:
    return int((targets != IGNORED).sum())

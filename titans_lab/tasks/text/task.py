"""Language modelling: windows of a text, and the loss in bits per byte for every tokenizer."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans_lab.data.corpus import Corpus, check_vocabulary, load_corpus, refuse_short
from titans_lab.data.parts import Part
from titans_lab.data.tokenizer import SEPARATOR
from titans_lab.run.config import RunConfig
from titans_lab.run.metric import Metric
from titans_lab.tasks.task import Batch, Score, Task, judging, precise, random_of
from titans_lab.tasks.text import TextSettings

BITS = 1 / math.log(2)
WORD_PERPLEXITY = Metric("word_perplexity", "choices a word")
TOKEN_PERPLEXITY = Metric("token_perplexity", "choices a token")
LARGEST = 700.0  # nats: the exponential of more does not fit a float


class TextTask(Task):
    """The task of language modelling on a corpus.

    A batch depends on data, seed, step, length and batch size only. So runs that share these are paired: they read the
    same text in the same order, whatever their model. Raise UserError where the text is shorter than a window.
    """

    settings: TextSettings

    def __init__(
        self, corpus: Corpus, seed: int, length: int, batch: int, settings: TextSettings | None = None
    ) -> None:
        refuse_short(len(corpus.train), length, corpus.source)
        super().__init__(settings or TextSettings(), corpus.digest, corpus.source)
        self.corpus, self.seed, self.length, self.batch = corpus, seed, length, batch

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> TextTask:
        """Read the section `data`."""
        settings = config.task.settings
        assert isinstance(settings, TextSettings)
        if not settings.FASTA:
            check_vocabulary(config.data, config.model.vocab_size)
        corpus = load_corpus(config.data, settings.FASTA)
        return cls(corpus, seed, config.train.seq_len, config.train.batch_size, settings)

    def resized(self, config: RunConfig, seed: int) -> TextTask:
        """Return the task on the same corpus with windows of another length."""
        return type(self)(self.corpus, seed, config.train.seq_len, config.train.batch_size, self.settings)

    def sample(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets `[batch, length]` of a step: random windows of the training part."""
        last = len(self.corpus.train) - self.length
        starts = random_of(self.digest, self.seed, step, self.length, self.batch).integers(0, last, self.batch)
        return _pair(np.stack([self.corpus.train[i : i + self.length + 1] for i in starts]))

    def windows(self, part: Part, limit: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield a part, or its first `limit` bytes, in windows of `length`, then the shorter rest."""
        yield from self._windows(self.corpus.first_bytes(part, limit))

    def _windows(self, part: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        windows = (len(part) - 1) // self.length
        whole = np.lib.stride_tricks.sliding_window_view(part, self.length + 1)[:: self.length] if windows else part[:0]
        for begin in range(0, windows, self.batch):
            yield _pair(whole[begin : begin + self.batch])
        if len(rest := part[windows * self.length :]) > 1:
            yield _pair(rest[None])

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss `[batch]` in bits, summed over each window."""
        return self.losses_by_token(model, batch).sum(1)

    def losses_by_token(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of each token `[batch, time]` in bits."""
        inputs, targets = batch
        bits = F.cross_entropy(precise(model(inputs).flatten(0, 1)), targets.flatten(), reduction="none") * BITS
        return bits.view_as(targets)

    def terms(self, batch: Batch) -> int:
        """Return the number of bytes of the target tokens."""
        return int(self.corpus.tokenizer.widths[batch[1].numpy()].sum())

    def evaluate(self, model: nn.Module, device: torch.device, limit: int | None = None) -> list[Score]:
        """Return bits per byte and perplexities over the first `limit` bytes of the validation part.

        Without a limit, evaluate all of the validation part and of the test part, and return the loss by segments of
        positions in the window of the test part, too: see `position_segments`. Words are separated by white space, as
        in lm-eval (`word_perplexity` of its task wikitext).
        """
        if limit is not None:
            return self._judge(*bits_by_position(model, self, device, "valid", limit), "valid", limit)
        valid, test = (bits_by_position(model, self, device, part) for part in ("valid", "test"))
        judged = [*self._judge(*valid, "valid"), *self._judge(*test, "test")]
        return [*judged, *self._by_position(*test)]

    def evaluate_test(self, model: nn.Module, device: torch.device) -> list[Score]:
        """Return bits per byte and perplexities over the test part."""
        return self._judge(*bits_by_position(model, self, device, "test"), "test")

    def _judge(self, bits: np.ndarray, size: np.ndarray, part: Part, limit: int | None = None) -> list[Score]:
        scores = [Score(self.settings.LOSS, float(bits.sum() / size.sum()), int(size.sum()), split=part)]
        return scores if self.settings.FASTA else [*scores, *self._perplexities(bits.sum() / BITS, part, limit)]

    def _perplexities(self, nats: float, part: Part, limit: int | None) -> Iterator[Score]:
        predicted = self.corpus.first_bytes(part, limit)[1:]
        words = count_words(self.corpus.tokenizer.decode(predicted))
        yield Score(WORD_PERPLEXITY, perplexity(nats / words), words, split=part)
        yield Score(TOKEN_PERPLEXITY, perplexity(nats / len(predicted)), len(predicted), split=part)

    def _by_position(self, bits: np.ndarray, size: np.ndarray) -> Iterator[Score]:
        begins = position_segments(len(bits))
        sums = (np.add.reduceat(each, begins).tolist() for each in (bits, size))
        for begin, total, count in zip(begins, *sums, strict=True):
            yield Score(self.settings.LOSS, total / count, count, split="test", position=begin)

    def inputs(self, tokens: int) -> Tensor:
        """Return the first windows of the validation part, `[batch, length]`."""
        return next(self._windows(self.corpus.valid[: tokens + 1]))[0]


def _pair(tokens: np.ndarray) -> tuple[Tensor, Tensor]:
    windows = torch.from_numpy(tokens.astype(np.int64))
    return windows[:, :-1], windows[:, 1:]


def count_words(text: bytes) -> int:
    """Return the number of words by lm-eval's count, which includes empty words at leading and trailing white space."""
    return sum(len(re.split(r"\s+", document.decode(errors="replace"))) for document in text.split(SEPARATOR))


def perplexity(nats: float) -> float:
    """Return the exponential of a loss in nats, infinite where it exceeds a float."""
    return math.exp(nats) if nats < LARGEST else math.inf


def bits_per_token(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of targets `[batch, time]` on inputs `[batch, time]` in bits, a scalar `[]`."""
    return F.cross_entropy(precise(model(inputs).flatten(0, 1)), targets.flatten()) * BITS


def evaluate(model: nn.Module, task: TextTask, device: torch.device, limit: int | None = None) -> float:
    """Return bits per byte over the validation part, or its first `limit` bytes. Each window starts without context."""
    bits, size = bits_by_position(model, task, device, "valid", limit)
    return float(bits.sum() / size.sum())


def bits_by_position(
    model: nn.Module, task: TextTask, device: torch.device, part: Part, limit: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return bits and bytes of the target tokens, each `[length]`, summed by position in the window."""
    bits, size = torch.zeros(task.length, dtype=torch.float64, device=device), np.zeros(task.length, np.int64)
    with judging(model):
        for inputs, targets in task.windows(part, limit):
            places = targets.shape[1]
            bits[:places] += task.losses_by_token(model, (inputs.to(device), targets.to(device))).double().sum(0)
            size[:places] += task.corpus.tokenizer.widths[targets.numpy()].sum(0)
    seen = size > 0  # a text shorter than a window has no later places
    return bits.cpu().numpy()[seen], size[seen]


def position_segments(length: int) -> list[int]:
    """Return where segments of positions begin, two per octave: 0, 1, 2, 3, 4, 6, 8, 12 and so on below `length`."""
    octaves = (2**power for power in range(length.bit_length()))
    return [0, *(begin for octave in octaves for begin in sorted({octave, octave * 3 // 2}) if begin < length)]

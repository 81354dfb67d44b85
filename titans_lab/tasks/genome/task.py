"""Classification of DNA sequences: accuracy and Matthews correlation, with a k-mer baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.models.classifier import Classifier
from titans_lab.data.genome import Genome, Labelled, load_genome
from titans_lab.data.parts import Part
from titans_lab.run.config import RunConfig
from titans_lab.stats.classes import matthews
from titans_lab.stats.kmers import kmer_classes
from titans_lab.tasks.genome import ACCURACY, MATTHEWS, GenomeSettings
from titans_lab.tasks.task import Batch, Score, Task, precise, random_of


class GenomeTask(Task):
    """The task of classifying DNA sequences. It validates during training, and evaluates the test part at the end."""

    settings: GenomeSettings

    def __init__(self, settings: GenomeSettings, genome: Genome, seed: int, length: int, batch: int) -> None:
        super().__init__(settings, genome.digest, genome.source)
        self.parts, self.seed, self.length, self.batch = genome.parts, seed, length, batch

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> GenomeTask:
        """Read the files of the section `data`."""
        settings, train = config.task.settings, config.train
        assert isinstance(settings, GenomeSettings)
        return cls(settings, load_genome(config.data, settings.classes), seed, train.seq_len, train.batch_size)

    def model(self, config: RunConfig, seed: int) -> Classifier:
        """Return a model with a head over the classes."""
        return Classifier(config.model, self.settings.classes, seed)

    def sample(self, step: int) -> Batch:
        """Return bases `[batch, time]`, lengths `[batch]` and classes `[batch]`."""
        train = self.parts["train"]
        random = random_of(self.digest, self.seed, step, self.length, self.batch)
        return self._batch([train[place] for place in random.integers(0, len(train), self.batch)])

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy of each sequence `[batch]` in nats."""
        bases, lengths, labels = batch
        return F.cross_entropy(precise(model(bases, lengths)), labels, reduction="none")

    def terms(self, batch: Batch) -> int:
        """Return the number of sequences in the batch."""
        return len(batch[0])

    def evaluate(self, model: nn.Module, device: torch.device, limit: int | None = None) -> list[Score]:
        """Return loss, accuracy and correlation on the validation part, or its first `limit` bases.

        Without a limit, return those on the test part too, with those of logistic regression on k-mers.
        """
        scores = self._judge(model, device, "valid", limit)
        return scores if limit is not None else [*scores, *self._judge(model, device, "test", None), *self.baselines()]

    def evaluate_test(self, model: nn.Module, device: torch.device) -> list[Score]:
        """Return the model's own scores on the test part."""
        return self._judge(model, device, "test", None)

    def baselines(self) -> Iterator[Score]:
        """Yield the scores of `titans_lab.stats.kmers` on the test part, with sequences cut as for the model."""
        train, valid, test = (self._arrays(self.parts[part]) for part in ("train", "valid", "test"))
        found = kmer_classes(train, valid, test[0], self.settings.classes)
        yield from _scores(found, test[1], "test", "k-mers")

    def inputs(self, tokens: int) -> Tensor:
        """Return the first validation sequences `[batch, time]`."""
        return self._batch(self.parts["valid"][: max(1, tokens // self.length)])[0]

    def _judge(self, model: nn.Module, device: torch.device, part: Part, limit: int | None) -> list[Score]:
        examples = self.parts[part][: None if limit is None else max(1, limit // self.length)]
        loss, found = 0.0, []
        for begin in range(0, len(examples), self.batch):
            bases, lengths, labels = (x.to(device) for x in self._batch(examples[begin : begin + self.batch]))
            logits = precise(model(bases, lengths))
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            found.append(logits.argmax(1).cpu().numpy())
        true = np.array([example.label for example in examples])
        mean = Score(self.settings.LOSS, loss / len(examples), len(examples), part)
        return [mean, *_scores(np.concatenate(found), true, part, None)]

    def _batch(self, examples: Sequence[Labelled]) -> Batch:
        """Return bases `[batch, time]`, padded with zeros, lengths `[batch]` and classes `[batch]`."""
        sequences, labels = self._arrays(examples)
        lengths = [len(sequence) for sequence in sequences]
        bases = np.zeros((len(sequences), max(lengths)), np.int64)
        for row, sequence in zip(bases, sequences, strict=True):
            row[: len(sequence)] = sequence
        return torch.from_numpy(bases), torch.tensor(lengths), torch.from_numpy(labels)

    def _arrays(self, examples: Sequence[Labelled]) -> tuple[list[np.ndarray], np.ndarray]:
        return [each.bases[: self.length] for each in examples], np.array([each.label for each in examples])


def _scores(found: np.ndarray, true: np.ndarray, part: Part, baseline: str | None) -> Iterator[Score]:
    yield Score(ACCURACY, float((found == true).mean()), len(true), part, baseline=baseline)
    yield Score(MATTHEWS, matthews(found, true), len(true), part, baseline=baseline)

"""MAD's compression: random tokens and a last one, from whose output an autoencoder restores all of them."""

from __future__ import annotations

import numpy as np

from titans.models.autoencoder import AutoEncoder
from titans.models.backbone import Backbone
from titans_lab.run.config import RunConfig
from titans_lab.tasks.answers import Examples, ExampleSet
from titans_lab.tasks.mad import CompressionSettings
from titans_lab.tasks.mad.task import MadTask


class CompressionTask(MadTask):
    """The task, whose training and test examples have one distribution."""

    settings: CompressionSettings

    def model(self, config: RunConfig, seed: int) -> Backbone:
        """Return an autoencoder."""
        return AutoEncoder(config.model, seed)

    def draw(self, random: np.random.Generator, part: ExampleSet, count: int, training: bool) -> Examples:
        """Draw examples whose targets are the tokens themselves."""
        last = self.settings.vocabulary - 1
        tokens = random.integers(0, last, (count, part.length))
        tokens[:, -1] = last
        return tokens, tokens.copy()

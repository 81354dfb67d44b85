"""Initial values depend on the seed alone, not on what torch's global generator stands at."""

from __future__ import annotations

import pytest
import torch

from titans.models.autoencoder import AutoEncoder
from titans.models.classifier import Classifier
from titans.models.config import ModelConfig
from titans.models.forecaster import Forecaster
from titans.models.language_model import LanguageModel

CONFIG = ModelConfig(variant="lmm", dim=8, n_heads=2)
MODELS = {
    "language": lambda: LanguageModel(CONFIG, 3),
    "autoencoder": lambda: AutoEncoder(CONFIG, 3),
    "classifier": lambda: Classifier(CONFIG, 4, 3),
    "forecaster": lambda: Forecaster(CONFIG, 6, 24, 10, seed=3),
}


@pytest.mark.parametrize("name", MODELS)
def test_two_models_of_a_seed_are_equal(name):
    torch.manual_seed(1)
    one = MODELS[name]().state_dict()
    torch.manual_seed(2)
    other = MODELS[name]().state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)

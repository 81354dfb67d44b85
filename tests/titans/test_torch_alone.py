"""The model library needs torch and nothing else that titans-lab depends on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
USE = """
import sys

sys.modules.update(dict.fromkeys(BLOCKED))  # as if they were not installed

import tempfile
from pathlib import Path

import torch
from titans.mixers import variants
from titans.models.config import ModelConfig
from titans.models.cost import parameters
from titans.models.generation import generate, load_state, prefill, save_state
from titans.models.inspection import inspect
from titans.models.language_model import LanguageModel

for variant in variants():
    config = ModelConfig(variant=variant, dim=16, n_heads=2, n_layers=3)
    model, tokens = LanguageModel(config), torch.randint(256, (2, 20))
    assert sum(p.numel() for p in model.parameters()) == parameters(config), variant
    model(tokens).square().mean().backward()
    torch.optim.AdamW(model.parameters()).step()
    with tempfile.TemporaryDirectory() as folder:
        save_state(prefill(model, tokens), Path(folder) / "state.pt")
        state = load_state(Path(folder) / "state.pt")
    assert generate(model, tokens[:, -1:], 3, state=state).shape == (2, 3), variant
    assert bool(inspect(model, tokens)) == config.has_memory, variant
print("done")
"""


def test_models_train_and_generate_where_torch_is_all_that_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=]", needed)[0].lower() for needed in project["dependencies"]}
    assert {"torch", "numpy", "pydantic"} <= names
    blocked = names - {"torch", "jinja2"} | {"yaml", "titans_lab"}  # jinja2 is a dependency of torch
    code = f"BLOCKED = {blocked!r}\n{USE}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "done\n", done.stderr

"""The registry finds the folders, imports no torch, and refuses what could be taken for something else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import titans.mixers
from titans.mixers import HybridSpec, register, registry
from titans.mixers.mac import MacConfig
from titans.models.config import ModelConfig

LMM = registry.mixer("lmm")


def test_every_folder_is_a_mixer_and_its_files_are_a_specification_and_a_layer():
    shipped = set(map(registry.spec, registry.variants()))
    for folder in (path.parent for path in Path(str(titans.mixers.__file__)).parent.glob("*/__init__.py")):
        parts = (
            {"gates.py"} if folder.name == "lmm" else set()
        )  # the layer is long, and its gates are a part by themselves
        assert {path.name for path in folder.glob("*.py")} <= {"__init__.py", "layer.py"} | parts
        assert shipped.intersection(registry.specs_in(sys.modules[f"titans.mixers.{folder.name}"]))


def test_specifications_and_costs_import_no_torch():
    code = """
import sys
from titans.mixers import registry
from titans.models.config import ModelConfig, effective
from titans.models.cost import forward_flops, parameters, state_bytes
for name in registry.variants():
    config = ModelConfig(variant=name, n_layers=3)
    effective(config), forward_flops(config, 64, 2), parameters(config), state_bytes(config, 64)
print(*sorted(name for name in ("torch", "numpy") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_an_unknown_variant_is_refused_with_a_near_one():
    with pytest.raises(ValueError, match=r"variant: there is no 'gla2'; did you mean gla\?"):
        ModelConfig(variant="gla2")
    with pytest.raises(ValueError, match=r"the variants are lmm, mac, .*, samba"):
        ModelConfig(variant="")


def test_a_pattern_is_no_mixer():
    with pytest.raises(ValueError, match="samba: is a pattern of mixers"):
        registry.mixer("samba")


@dataclass(frozen=True)
class Needy:
    size: int


def test_register_refuses_names_and_settings_that_are_taken():
    register(LMM)  # the same once more is no fault
    with pytest.raises(ValueError, match="lmm: another mixer has this name"):
        register(replace(LMM))
    with pytest.raises(ValueError, match="the name of a mixer is a word"):
        register(replace(LMM, name="my mixer"))
    with pytest.raises(ValueError, match="mine: MacConfig is the class of the settings of mac"):
        register(replace(LMM, name="mine", settings=MacConfig))
    with pytest.raises(ValueError, match="mine: the setting size has no default"):
        register(replace(LMM, name="mine", settings=Needy))
    with pytest.raises(ValueError, match="there is no 'lmn'; did you mean lmm"):
        register(HybridSpec(name="mine", summary="", source="", pattern=("lmn", "window")))
    assert "mine" not in registry.variants()


def test_a_mixer_with_settings_cannot_have_the_name_of_a_key():
    code = """
from dataclasses import make_dataclass, replace
from titans.mixers import register, registry
from titans.models.config import ModelConfig
register(replace(registry.mixer("lmm"), name="memory", settings=make_dataclass("Own", [], frozen=True)))
try:
    ModelConfig(variant="memory")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "variant: the mixer memory has settings; give it a name that is not a key of a model\n"


def test_settings_are_the_same_in_any_order_and_at_their_defaults():
    assert ModelConfig(settings=(MacConfig(),)) == ModelConfig()
    assert hash(ModelConfig(settings=(MacConfig(reset=True),))) == hash(ModelConfig(settings=(MacConfig(reset=True),)))
    assert ModelConfig(settings=(MacConfig(reset=True),)).settings_of(MacConfig).reset
    with pytest.raises(ValueError, match=r"settings: Needy given; give at most one of each of .*MacConfig"):
        ModelConfig(settings=(Needy(1),))
    with pytest.raises(ValueError, match="MacConfig, MacConfig given"):
        ModelConfig(settings=(MacConfig(), MacConfig(reset=True)))


@pytest.mark.parametrize("name", registry.variants())
def test_a_mixer_says_where_it_is_from(name: str):
    spec = registry.spec(name)
    assert spec.summary
    assert spec.source
    assert spec.family != "other"
    assert spec.golden_loss is not None

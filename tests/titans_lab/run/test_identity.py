from __future__ import annotations

import dataclasses
import json
import random
from dataclasses import MISSING
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from variants import VARIANTS, of_variant

import titans
from titans.mixers.registry import settings_classes
from titans.models.config import MemoryConfig, ModelConfig, reads
from titans.models.config.effective import BACKBONE
from titans_lab.run import identity
from titans_lab.run.config import DataConfig, LogConfig, RunConfig, TrainConfig, build, flatten, leaves, walk
from titans_lab.run.identity import facts, model_id, read_values, run_id
from titans_lab.run.run import Run
from titans_lab.study.study import load_study
from titans_lab.tasks.mqar import MqarSettings
from titans_lab.tasks.registry import all_settings

HASH = "0" * 64
#: What is said of each field. A setting that is one mixer's own decides, unless the file says otherwise.
OWN = tuple(f"model.{mixer}." for mixer in settings_classes())
DECISIONS = dict.fromkeys((key for key in leaves() if key.startswith(OWN)), "decides") | dict(
    line.split(": ", 1)
    for line in Path(__file__).with_name("identity.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
#: By the beginning of a key: see `needs`.
NEEDS: dict[str, dict[str, Any]] = {
    "model.mac.order": {"model.mac.write": "input"},
    "model.memory.theta_ceiling": {"model.memory.theta_scale": 0.1},
    "model.memory.objective_power": {"model.memory.objective": "lp"},
    "model.memory.huber_threshold": {"model.memory.objective": "huber"},
    "model.memory.gamma_bias": {"model.memory.window": 2},
    "log.noise_scale": {"speed.micro_batch": 1},
    "init.seed": {"init.arm": "short"},
    "init.weights_only": {"init.arm": "short"},
    "task.name": {"model.vocab_size": 8192},
    "task.noisy_in_context_recall.noise_vocabulary": {"task.noisy_in_context_recall.vocabulary": 64},
    "task.series": {"data.path": "a.csv", "train.seq_len": 1},
    "task.genome": {"data.path": "a.csv"},
    "task.needle": {"train.seq_len": 1024},
    "task.needle.questions": {"task.needle.needles": 2},
    "task.babilong": {"task.babilong.facts": "qa1.txt"},
}


def other(key: str, variant: str) -> Any:
    """A value that the field may hold and does not hold by default."""
    if key == "model.persistent_written":  # null stands for one or the other
        return variant == "mac"
    if key == "task.name":  # of the others, one that needs no file
        return "mqar"
    if key == "model.memory.objective_power":
        return 2.0
    if key == "init.run":
        return "0123456789abcdef"
    if key == "train.schedule":
        return "128 then 256"
    if key == "train.decay_groups":
        return "head.weight=0"
    leaf = leaves()[key]
    hint = leaf.hint if get_origin(leaf.hint) is Literal else next(iter(get_args(leaf.hint)), leaf.hint)
    if get_origin(hint) is Literal:
        return next(choice for choice in get_args(hint) if choice != leaf.default)
    if hint is bool:
        return not leaf.default
    if hint is int:
        return leaf.default * 2 if leaf.default else 32
    if key.startswith("model.recurrent."):
        return 3.0  # no mixer was published with it
    return "other" if hint is str else 0.5


def read_by(key: str, variant: str) -> bool:
    """Whether a model of the variant, all else at its default, reads a key."""
    section, _, name = key.partition(".")
    if section == "task":
        return name == "name"
    if key in ("data.valid_path", "data.test_path"):  # the text has one file
        return False
    return section != "model" or name in BACKBONE | reads(variant)


def outside(key: str) -> bool:
    """As identity.txt says; of a task's own settings, those that name a file, whose content has a hash."""
    section, *names = key.split(".")
    if section == "task" and len(names) == 2:
        return names[1] in all_settings()[names[0]].PATHS
    return DECISIONS[key] == "outside"


def needs(key: str) -> dict[str, Any]:
    """What else has to be set before a key can have, or make a difference with, another value."""
    return dict(item for part, values in NEEDS.items() if f"{key}.".startswith(f"{part}.") for item in values.items())


def task_of(key: str) -> dict[str, Any]:
    """What makes a run read a key below a task's section."""
    section, *names = key.split(".")
    return {"task.name": names[0], "model.vocab_size": 2 * 8192} if section == "task" and len(names) > 1 else {}


def ident(**values: Any) -> str:
    return run_id(build(RunConfig, {key.replace("__", "."): value for key, value in values.items()}), 0, HASH)


def runs_of(path: Path) -> list[Run]:
    return load_study(path).runs(lambda config: HASH)


def test_the_id_of_the_default_run_stays_as_it_is() -> None:
    """A change here means that every run of every store would be trained again: raise a version or add `neutral`."""
    assert run_id(RunConfig(), 0, HASH) == "0122bf46b8f87462"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("key", [key for key in leaves() if key != "model.variant"])
def test_exactly_the_fields_that_change_numbers_change_the_id(key: str, variant: str) -> None:
    fixed = {"model.variant": variant, "model.n_layers": of_variant(variant).n_layers, **needs(key), **task_of(key)}
    base = build(RunConfig, fixed)
    changed = build(RunConfig, {**fixed, key: other(key, variant)})
    assert changed != base
    decides = not outside(key) and (key.startswith("task.") or read_by(key, variant))
    assert (run_id(changed, 0, HASH) != run_id(base, 0, HASH)) is decides


def test_somebody_has_decided_about_every_field() -> None:
    found = {
        key: ("decides" + ("" if leaf.neutral is MISSING else f", but at {json.dumps(leaf.neutral)}"))
        if leaf.identity
        else "outside"
        for key, leaf in leaves().items()
        if not key.startswith("task.") or key == "task.name"
    }
    assert found == DECISIONS, "say in identity.txt what the new field means for a run's id"


@pytest.mark.parametrize("key", [key for key, leaf in leaves().items() if leaf.neutral is not MISSING])
def test_a_field_at_its_neutral_value_has_no_part_in_any_id(key: str) -> None:
    for variant in VARIANTS:
        fixed = {"model.variant": variant, "model.n_layers": of_variant(variant).n_layers, **needs(key), **task_of(key)}
        config = build(RunConfig, {**fixed, key: leaves()[key].neutral})
        assert key not in facts(leaves(), read_values(config))


@pytest.mark.parametrize("task", [task for task in all_settings() if task != "text"])
def test_only_the_chosen_tasks_fields_are_part_of_the_id(task: str) -> None:
    base = {"task.name": task, "model.vocab_size": 2 * 8192, "data.path": "a.csv"}
    base |= needs(f"task.{task}")
    for key in (key for key in leaves() if key.startswith("task.") and key != "task.name"):
        given = {**base, **{name: value for name, value in needs(key).items() if name.startswith("task.")}}
        changed = build(RunConfig, {**given, key: other(key, "lmm")})
        own = key.startswith(f"task.{task}.") and not outside(key)
        assert (run_id(changed, 0, HASH) != run_id(build(RunConfig, given), 0, HASH)) is own, key


def test_studies_that_overlap_share_runs(tmp_path: Path) -> None:
    texts = {
        "a": "grid: {model.memory.depth: [1, 2], train.lr: [1e-3, 1e-2]}\nseeds: 2\n",
        "b": "base: {train: {lr: 1e-3}, log: {every: 7}}\nzip: {model.memory.depth: [2, 3]}\nseeds: [1, 5]\n",
    }
    ids = {}
    for name, text in texts.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        ids[name] = {run.run_id: (run.factors["model.memory.depth"], run.seed) for run in runs_of(path)}
    shared = ids["a"].keys() & ids["b"].keys()
    assert [ids["b"][name] for name in shared] == [(2, 1)]


def test_variants_seeds_data_and_versions_have_ids_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [ident(model__variant=variant, model__n_layers=of_variant(variant).n_layers) for variant in VARIANTS]
    ids += [run_id(RunConfig(), 1, HASH), run_id(RunConfig(), 0, "1" * 64)]
    for versions, name in [(titans.VERSIONS, "model"), (identity.VERSIONS, "trainer")]:
        with monkeypatch.context() as patch:
            patch.setitem(versions, name, 99)
            ids.append(run_id(RunConfig(), 0, HASH))
    assert len(set(ids)) == len(ids) == len(VARIANTS) + 4


def test_a_task_reads_its_own_section_and_no_others() -> None:
    task = {"task__name": "mqar", "model__vocab_size": 8192}
    assert ident(task__mqar__pairs=3) == ident()
    assert (
        ident(**task, data__valid_fraction=0.5, data__valid_bytes=9) == ident(**task) != ident(model__vocab_size=8192)
    )
    assert ident(data__valid_fraction=0.5) != ident()


def test_each_task_has_a_version_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    task = {"task__name": "mqar", "model__vocab_size": 8192}
    before = ident(), ident(**task)
    monkeypatch.setattr(MqarSettings, "VERSION", 99)
    assert ident() == before[0]
    assert ident(**task) != before[1]


def test_path_and_logging_are_outside() -> None:
    config = RunConfig(data=DataConfig(path="elsewhere"), log=LogConfig(every=1, valid_every=5, valid_bytes=99))
    assert run_id(config, 0, HASH) == run_id(RunConfig(), 0, HASH)


def test_fields_that_the_memory_does_not_read_are_outside_the_id() -> None:
    linear = {"model__memory__depth": 1}
    assert ident(**linear) == ident(**linear, model__memory__expansion=9, model__memory__activation="relu")
    without = {"model__memory__momentum": False}
    assert ident(**without) == ident(**without, model__memory__eta_bias=3.0)
    assert ident(**without) == ident(**without, model__memory__theta_damping=False)


def test_an_integer_in_the_place_of_a_float_is_the_same_run() -> None:
    assert run_id(RunConfig(train=TrainConfig(lr=1)), 0, HASH) == run_id(RunConfig(train=TrainConfig(lr=1.0)), 0, HASH)
    assert ident(model__memory__eta_bias=-0.0) == ident(model__memory__eta_bias=0.0)
    assert ident(model__memory__theta_scale=1) == ident(model__memory__theta_scale=1.0)


def test_the_order_of_the_fields_is_no_part_of_the_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_id(RunConfig(), 0, HASH)
    keys = list(leaves())
    random.Random(0).shuffle(keys)
    shuffled = {key: leaves()[key] for key in keys}
    monkeypatch.setattr(identity, "leaves", lambda: shuffled)
    run_id(build(RunConfig, {"train.lr": 1.0}), 0, HASH)  # so that nothing of the default run is remembered
    assert run_id(RunConfig(), 0, HASH) == before


@dataclasses.dataclass(frozen=True)
class Inner:
    depth: int = 2
    lag: int = dataclasses.field(default=0, metadata={"neutral": 0})
    gain: float = dataclasses.field(default=2.0, metadata={"neutral": 1.0})


@dataclasses.dataclass(frozen=True)
class Outer:
    dim: int = 4
    inner: Inner = dataclasses.field(default_factory=Inner)
    place: Inner = dataclasses.field(default_factory=Inner, metadata={"identity": False})


def toy_facts(config: Outer) -> dict[str, Any]:
    return facts(dict(walk(Outer)), dict(flatten(dataclasses.asdict(config))))


def test_a_field_at_its_neutral_value_is_outside() -> None:
    assert toy_facts(Outer(inner=Inner(lag=0, gain=1.0))) == {"dim": 4, "inner.depth": 2}
    assert toy_facts(Outer(inner=Inner(lag=1))) == {"dim": 4, "inner.depth": 2, "inner.lag": 1, "inner.gain": 2.0}


def test_a_section_outside_the_identity_takes_its_fields_along() -> None:
    assert toy_facts(Outer(place=Inner(depth=9))) == toy_facts(Outer())


def test_read_values_leaves_out_what_the_variant_does_not_read() -> None:
    keys = read_values(build(RunConfig, {"model.variant": "transformer"})).keys()
    assert leaves().keys() - keys == {key for key in leaves() if not read_by(key, "transformer")}


def test_the_default_step_size_and_the_same_one_in_full_are_the_same_run() -> None:
    spelt, other = (RunConfig(model=ModelConfig(memory=MemoryConfig(theta_scale=scale))) for scale in (0.1, 0.2))
    assert run_id(spelt, 0, HASH) == run_id(RunConfig(), 0, HASH) != run_id(other, 0, HASH)


def test_models_that_are_the_same_function_have_one_name() -> None:
    assert model_id(ModelConfig()) == "ce387a98a2751f47"
    assert model_id(ModelConfig(memory=MemoryConfig(theta_scale=0.1))) == model_id(ModelConfig())
    deep, shallow = (ModelConfig(variant="transformer", memory=MemoryConfig(depth=depth)) for depth in (1, 2))
    assert model_id(deep) == model_id(shallow) != model_id(ModelConfig())


def test_a_linear_memory_has_one_set_of_gates_either_way() -> None:
    one, other = (
        RunConfig(model=ModelConfig(memory=MemoryConfig(depth=1, gates_per_layer=per_layer)))
        for per_layer in (False, True)
    )
    assert run_id(one, 0, HASH) == run_id(other, 0, HASH)

"""The block `search`: what it means, and a place and a remedy for what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.run.derived import params
from titans_lab.study.study import Search, Study, load_study

HEAD = "base:\n  model: {variant: lmm}\n  train: {tokens: 100000}\n"
SPACE = "search:\n  space:\n    train.lr: {float: [1e-3, 1e-2], log: true}\n"


def loaded(folder: Path, text: str) -> Study:
    path = folder / "x.yaml"
    path.write_text(text)
    return load_study(path)


def searched(folder: Path, text: str) -> Search:
    found = loaded(folder, text).search
    assert found is not None
    return found


#: What follows SPACE or, where it begins with "search", HEAD; the line of the mistake in that; the key; the remedy.
CASES: dict[str, tuple[str, int, str, str]] = {
    "no mapping": ("search: 3\n", 1, "search", "not a mapping"),
    "unknown key": (SPACE + "  trails: 3\n", 4, "search.trails", "did you mean trials?"),
    "no space": ("search:\n  trials: 3\n", 1, "search.space", "name parameters"),
    "empty space": ("search:\n  space: {}\n", 2, "search.space", "not a mapping of keys"),
    "unknown parameter": (
        "search:\n  space:\n    train.rl: {float: [1, 2]}\n",
        3,
        "search.space.train.rl",
        "did you mean train.lr",
    ),
    "a section": ("search:\n  space:\n    train: {float: [1, 2]}\n", 3, "search.space.train", "write a key of it"),
    "no distribution": ("search:\n  space:\n    train.lr: {log: true}\n", 3, "search.space.train.lr", "write {float:"),
    "a bare list": ("search:\n  space:\n    train.lr: [1, 2]\n", 3, "search.space.train.lr", "write {float:"),
    "two distributions": (
        "search:\n  space:\n    train.lr: {float: [1, 2], choice: [1.0]}\n",
        3,
        "search.space.train.lr",
        "float and choice",
    ),
    "unknown part": (
        "search:\n  space:\n    train.lr: {float: [1, 2], logarithmic: true}\n",
        3,
        "search.space.train.lr.logarithmic",
        "unknown key",
    ),
    "upside down": (
        "search:\n  space:\n    train.lr: {float: [1e-2, 1e-3]}\n",
        3,
        "search.space",
        "write [0.001, 0.01]",
    ),
    "one value": ("search:\n  space:\n    train.lr: {float: [1e-2, 1e-2]}\n", 3, "search.space", "set it under base"),
    "one end": ("search:\n  space:\n    train.lr: {float: [1e-2]}\n", 3, "search.space", "not the two ends"),
    "text as an end": ("search:\n  space:\n    train.lr: {float: [a, 1]}\n", 3, "search.space", "not a finite number"),
    "log of zero": ("search:\n  space:\n    train.lr: {float: [0, 1], log: true}\n", 3, "search.space", "remove log"),
    "log and step": (
        "search:\n  space:\n    train.lr: {float: [1, 2], log: true, step: 0.1}\n",
        3,
        "search.space",
        "do not go together",
    ),
    "a step too large": (
        "search:\n  space:\n    train.lr: {float: [0, 1], step: 2}\n",
        3,
        "search.space",
        "does not fit",
    ),
    "a step too fine": (
        "search:\n  space:\n    train.lr: {float: [0, 1], step: 1e-9}\n",
        3,
        "search.space",
        "widen it",
    ),
    "a float for an integer": (
        "search:\n  space:\n    model.memory.depth: {float: [1, 4]}\n",
        3,
        "search.space.model.memory.depth",
        "write int",
    ),
    "a float for a name": (
        "search:\n  space:\n    model.variant: {float: [1, 4]}\n",
        3,
        "search.space.model.variant",
        "write choice",
    ),
    "an integer that is none": (
        "search:\n  space:\n    model.memory.depth: {int: [1, 2.5]}\n",
        3,
        "search.space.model.memory.depth",
        "not an integer",
    ),
    "a choice of the wrong type": (
        "search:\n  space:\n    model.memory.depth: {choice: [1, two]}\n",
        3,
        "model.memory.depth",
        "not an integer",
    ),
    "a choice twice": ("search:\n  space:\n    train.lr: {choice: [0.1, 0.1]}\n", 3, "train.lr", "remove one"),
    "a choice with log": (
        "search:\n  space:\n    train.lr: {choice: [0.1, 0.2], log: true}\n",
        3,
        "search.space.train.lr",
        "remove it",
    ),
    "no part of the identity": (
        "search:\n  space:\n    log.every: {int: [1, 4]}\n",
        3,
        "search.space.log.every",
        "the same run",
    ),
    "a condition on what comes later": (
        "search:\n  space:\n    train.lr: {float: [1, 2], when: model.memory.depth > 1}\n"
        "    model.memory.depth: {int: [1, 2]}\n",
        3,
        "search.space.train.lr",
        "put that before it",
    ),
    "a condition on what is derived": (
        "search:\n  space:\n    train.lr: {float: [1, 2], when: params > 1}\n",
        3,
        "search.space.train.lr.when",
        "use keys of a run",
    ),
    "a condition that is none": (
        "search:\n  space:\n    train.lr: {float: [1, 2], when: depth = 3}\n",
        3,
        "search.space.train.lr.when",
        "is not an expression",
    ),
    "no trials": (SPACE + "  trials: 0\n", 4, "search.trials", "write 20"),
    "trials in words": (SPACE + "  trials: many\n", 4, "search.trials", "not an integer"),
    "a time without a unit": (SPACE + "  timeout: 20\n", 4, "search.timeout", "20 has no unit; write 20s, 20m or 20h"),
    "no time": (SPACE + "  timeout: 0m\n", 4, "search.timeout", "is not a duration"),
    "no seeds": (SPACE + "  seeds: 0\n", 4, "search.seeds", "is not a count"),
    "an unknown sampler": (SPACE + "  sampler: tpee\n", 4, "search.sampler.name", "one of tpe, gp"),
    "a sampler without a name": (SPACE + "  sampler: {n_startup_trials: 3}\n", 4, "search.sampler", "says no name"),
    "an unknown pruner": (SPACE + "  pruner: {name: halving}\n", 4, "search.pruner.name", "one of none, median"),
    "a metric that is no name": (SPACE + "  metric: loss/2\n", 4, "search.metric", "not the name of a metric"),
    "a metric twice": (SPACE + "  metric: [loss, loss]\n", 4, "search.metric", "remove one"),
    "no metric": (SPACE + "  metric: []\n", 4, "search.metric", "an empty list"),
    "a direction that is none": (
        SPACE + "  metric: {name: loss, direction: down}\n",
        4,
        "search.metric.direction",
        "one of minimize, maximize",
    ),
    "several objectives and a pruner": (
        SPACE + "  metric: [loss, tokens_per_second]\n  pruner: median\n",
        5,
        "search.pruner",
        "stops by one objective",
    ),
    "several objectives for a sampler of one": (
        SPACE + "  metric: [loss, tokens_per_second]\n  sampler: cmaes\n",
        5,
        "search.sampler",
        "takes one objective",
    ),
    "a grid of what cannot be counted": (SPACE + "  sampler: grid\n", 3, "search.space.train.lr", "give it a step"),
    "an unknown limit": (SPACE + "  constraints: {parms: {max: 3}}\n", 4, "search.constraints.parms", "params?"),
    "a limit without a bound": (SPACE + "  constraints: {params: {}}\n", 4, "search.constraints.params", "min or max"),
    "limits upside down": (
        SPACE + "  constraints: {params: {min: 3, max: 2}}\n",
        4,
        "search.constraints.params",
        "swap them",
    ),
    "limits in a list": (SPACE + "  constraints: [params < 3]\n", 4, "search.constraints", "not a mapping"),
    "a point of another parameter": (
        SPACE + "  enqueue: {train.max_grad_norm: 1.0}\n",
        4,
        "train.max_grad_norm",
        "not a parameter",
    ),
    "a point out of range": (SPACE + "  enqueue: [{train.lr: 0.5}]\n", 4, "train.lr", "not in its distribution"),
    "a point that is none": (SPACE + "  enqueue: [0.5]\n", 4, "search.enqueue", "not values"),
    "a proxy of what is searched": (SPACE + "  proxy: {train.lr: 1e-3}\n", 4, "search.proxy.train.lr", "here or there"),
    "a proxy of what the grid varies": (
        SPACE + "  proxy: {train.tokens: 9000}\ngrid: {train.tokens: [10_000, 20_000]}\n",
        4,
        "search.proxy.train.tokens",
        "varied already at",
    ),
    "a proxy of what is no key": (SPACE + "  proxy: {train.token: 9000}\n", 4, "train.token", "train.tokens?"),
    "a proxy of nothing": (SPACE + "  proxy: {}\n", 4, "search.proxy", "remove it"),
    "a warm start in words": (SPACE + "  warm_start: yes\n", 4, "search.warm_start", "write true"),
    "no finalists": (SPACE + "  finalists: 0\n", 4, "search.finalists.count", "from 1 to 1000"),
    "what the grid varies too": (
        SPACE + "grid: {train.lr: [1e-3, 2e-3]}\n",
        3,
        "search.space.train.lr",
        "varied already at",
    ),
    "what hold solves for": (
        "search:\n  space:\n    model.dim: {int: [64, 128]}\nhold: params\n",
        3,
        "search.space.model.dim",
        "hold by mlp_ratio",
    ),
}


@pytest.mark.parametrize(("text", "line", "key", "remedy"), CASES.values(), ids=CASES.keys())
def test_a_mistake_is_named_with_its_place_and_remedy(tmp_path: Path, text: str, line: int, key: str, remedy: str):
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, HEAD + text)
    [message] = str(caught.value).splitlines()
    assert message.startswith(f"{tmp_path / 'x.yaml'}:{line + HEAD.count(chr(10))}: {key}")
    assert remedy in message


def test_a_search_says_what_it_draws_and_what_it_may_cost(tmp_path: Path):
    terms = searched(
        tmp_path,
        HEAD + SPACE + "    model.memory.depth: {int: [1, 6], step: 2}\n"
        "    train.weight_decay: {float: [0, 0.35], step: 0.1}\n"
        "  timeout: 1.5m\n  finalists: {count: 2, seeds: 5}\n  pruner: {name: median, n_startup_trials: 2}\n",
    ).terms
    rate, depth, decay = terms.space
    assert (rate.values, depth.values, decay.values) == (None, (1, 3, 5), (0.0, 0.1, 0.2, 0.3))
    assert (terms.timeout, terms.finalists.count, terms.finalists.seeds) == (90.0, 2, 5)  # type: ignore[union-attr]
    assert terms.pruner.plain() == {"name": "median", "n_startup_trials": 2}
    assert [terms.trials, terms.seeds, terms.sampler.name] == [20, 1, "tpe"]


def test_a_drawn_float_has_six_digits_and_stays_within_its_ends(tmp_path: Path):
    [rate] = searched(
        tmp_path, HEAD + "search:\n  space:\n    train.lr: {float: [0.01234567, 0.02345678]}\n"
    ).terms.space
    assert rate.rounded(0.0155555555) == 0.0155556
    assert rate.rounded(0.0234567799) == 0.02345678
    assert rate.rounded(0.012345674) == 0.0123457
    assert rate.rounded(0.01234567) == 0.0123457 or rate.rounded(0.01234567) >= rate.low


def test_each_combination_of_the_study_is_an_arm(tmp_path: Path):
    search = searched(tmp_path, HEAD + "ablate: {model.memory.momentum: false}\n" + SPACE)
    assert [arm.label for arm in search.arms] == ["base", "memory.momentum=false"]
    points = [arm.point({"train.lr": 2e-3}) for arm in search.arms]
    assert [point.config.model.memory.momentum for point in points] == [True, False]
    assert [point.config.train.lr for point in points] == [2e-3, 2e-3]
    assert points[0].factors == {"arm": "base", "train.lr": 2e-3}


def test_the_runs_of_a_sweep_are_those_without_the_search(tmp_path: Path):
    with_search = loaded(tmp_path, HEAD + "grid: {model.memory.depth: [1, 2]}\n" + SPACE)
    without = loaded(tmp_path, HEAD + "grid: {model.memory.depth: [1, 2]}\n")
    ids = [[run.run_id for run in study.runs(lambda _: "0" * 64)] for study in (with_search, without)]
    assert ids[0] == ids[1]


def test_the_held_cost_is_solved_for_in_every_trial(tmp_path: Path):
    hold = "grid: {model.memory.depth: [1, 2]}\nhold: {what: params, by: mlp_ratio}\n"
    search = searched(tmp_path, HEAD + hold + "search:\n  space:\n    model.memory.expansion: {int: [1, 4]}\n")
    costs = [params(arm.point({"model.memory.expansion": value}).config) for arm in search.arms for value in (1, 4)]
    assert max(costs) / min(costs) < 1.025
    assert len({arm.point({"model.memory.expansion": 4}).config.model.mlp_ratio for arm in search.arms}) == 2


def test_a_condition_of_the_study_sees_what_the_search_drew(tmp_path: Path):
    text = HEAD + "when:\n  model.memory.depth > 1:\n    base: {train: {max_grad_norm: 0.5}}\n"
    [arm] = searched(tmp_path, text + "search:\n  space:\n    model.memory.depth: {int: [1, 2]}\n").arms
    assert [arm.point({"model.memory.depth": depth}).config.train.max_grad_norm for depth in (1, 2)] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("rule", "words"), [("where: model.memory.depth < 3\n", "leaves"), ("where: params < 3000000\n", "leaves")]
)
def test_a_rule_of_the_study_leaves_out_what_the_search_drew(tmp_path: Path, rule: str, words: str):
    text = HEAD + rule + "search:\n  space:\n    model.memory.depth: {int: [1, 200]}\n"
    [arm] = searched(tmp_path, text).arms
    arm.point({"model.memory.depth": 2})
    with pytest.raises(UserError, match=words):
        arm.point({"model.memory.depth": 200})


def test_values_that_make_no_configuration_are_a_message(tmp_path: Path):
    [arm] = searched(tmp_path, HEAD + "search:\n  space:\n    model.n_heads: {int: [1, 7]}\n").arms
    with pytest.raises(UserError, match=r"x\.yaml:6: model\.dim: "):
        arm.point({"model.n_heads": 7})


def test_a_parameter_that_no_arm_reads_is_a_warning(tmp_path: Path):
    text = "base:\n  model: {variant: transformer}\nsearch:\n  space:\n    model.memory.depth: {int: [1, 2]}\n"
    [warning] = loaded(tmp_path, text).warnings
    assert "x.yaml:5: search.space.model.memory.depth: no arm reads it" in warning

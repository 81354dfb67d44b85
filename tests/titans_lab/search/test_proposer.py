"""What Optuna is asked and told."""

from __future__ import annotations

import fcntl
import math
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler

from titans_lab.errors import UserError
from titans_lab.search.libraries import check_choices, make_sampler, options_of, seed_of
from titans_lab.search.proposer import Goal, Proposer, export
from titans_lab.search.trial import Trial
from titans_lab.study.reading import Setting
from titans_lab.study.terms import Chosen, Dimension, Limit, SearchTerms

RATE = Dimension("train.lr", "float", 1e-4, 1e-1, log=True)
CLIP = Dimension("train.max_grad_norm", "float", 0.1, 2.0)


def goal(sampler: str = "tpe", *limits: Limit, directions: tuple[str, ...] = ("minimize",), **options: Any) -> Goal:
    given = {key: Setting(value, "x.yaml:1") for key, value in options.items()}
    terms = SearchTerms((RATE, CLIP), sampler=Chosen(sampler, given), constraints=tuple(limits))
    return Goal("s", terms, directions, lambda key: None)


def loss(params: dict[str, Any]) -> float:
    return (math.log10(params["train.lr"]) + 2.5) ** 2


def done(number: int, params: dict[str, Any], **more: Any) -> Trial:
    return Trial(number, "sampler", params, "done", (loss(params),), **more)


def searched(count: int, seed: int, sampler: str) -> list[Trial]:
    proposer, trials = Proposer(goal(sampler, seed=seed)), []
    for number in range(count):
        params = proposer.ask(number)
        assert params is not None
        trials.append(proposer.tell(done(number, params)))
    return trials


def best(trials: list[Trial]) -> float:
    return min(trial.values[0] for trial in trials if trial.values)


def test_tpe_finds_what_chance_does_not():
    wins = sum(best(searched(30, seed, "tpe")) < best(searched(30, seed, "random")) for seed in range(6))
    assert wins >= 4


def test_seeds_of_trials_are_stable_and_differ():
    assert len({seed_of(base, number) for base in range(20) for number in range(50)}) == 1000
    assert make_sampler(Chosen("random"), 3, conditional=False)._rng.rng.rand() == pytest.approx(  # type: ignore[attr-defined]
        make_sampler(Chosen("random"), 3, conditional=True)._rng.rng.rand()  # type: ignore[attr-defined]
    )


@pytest.mark.parametrize("state", ["diverged", "oom", "infeasible"])
def test_tpe_ranks_a_trial_without_a_number_below_one_that_was_stopped(state: str):
    proposer = Proposer(goal())
    for number, trial in enumerate(
        [
            Trial(0, "sampler", {"train.lr": 1e-3, "train.max_grad_norm": 1.0}, "pruned", reports={1: 9.0}),
            Trial(1, "sampler", {"train.lr": 1e-2, "train.max_grad_norm": 1.0}, state, reports={1: 2.0, 2: 1.0}),  # type: ignore[arg-type]
        ]
    ):
        proposer.ask(number, trial.params)
        for step, value in trial.reports.items():
            proposer.report(number, step, value)
        proposer.tell(trial)
    trials = proposer.study.get_trials()
    assert [trial.state.name for trial in trials] == ["PRUNED", "PRUNED"]
    below, above = optuna.samplers._tpe.sampler._split_trials(proposer.study, trials, 1)
    assert [trial.number for trial in below] == [0]
    assert [trial.number for trial in above] == [1]
    assert isinstance(proposer.study.sampler, TPESampler)


@pytest.mark.parametrize("sampler", ["gp", "nsga2"])
def test_other_samplers_are_told_values_beyond_the_worst(sampler: str):
    proposer = Proposer(goal(sampler))
    first = {"train.lr": 1e-3, "train.max_grad_norm": 1.0}
    for number, (state, value) in enumerate([("diverged", None), ("done", 3.0), ("done", 2.0), ("diverged", None)]):
        proposer.ask(number, first)
        values = None if value is None else (value,)
        told = proposer.tell(Trial(number, "sampler", first, state, values))  # type: ignore[arg-type]
    assert told.told == (4.0,)
    assert [trial.state.name for trial in proposer.study.trials] == ["PRUNED", "COMPLETE", "COMPLETE", "COMPLETE"]
    again = Proposer(proposer.goal, [told])
    assert again.study.trials[0].values == [4.0]


def test_a_failure_teaches_nothing():
    proposer = Proposer(goal())
    params = proposer.ask(0)
    assert params is not None
    proposer.tell(Trial(0, "sampler", params, "failed"))
    assert proposer.study.trials[0].state.name == "FAIL"


def test_bounds_are_told_with_how_far_they_are_broken():
    limits = Limit("params", high=100.0), Limit("tokens_per_second", low=50.0)
    proposer = Proposer(goal("tpe", *limits))
    params = proposer.ask(0)
    assert params is not None
    proposer.tell(
        done(0, params, limits={"params": limits[0].excess(150.0), "tokens_per_second": limits[1].excess(60)})
    )
    assert proposer.study.trials[0].constraints == {"params": 0.5, "tokens_per_second": pytest.approx(-0.2)}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "cmaes", "random", "qmc"])
def test_a_study_that_was_rebuilt_has_what_the_old_one_has(sampler: str):
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    proposer, trials = Proposer(goal(sampler)), []
    for number in range(9):
        params = proposer.ask(number)
        assert params is not None
        trial = done(number, params) if number % 3 else Trial(number, "sampler", params, "pruned", reports={1: 2.0})
        for step, value in trial.reports.items():
            proposer.report(number, step, value)
        trials.append(proposer.tell(trial))
    trials.append(Trial(9, "sampler", proposer.ask(9) or {}))
    again = Proposer(proposer.goal, trials)
    for old, new in zip(proposer.study.trials, again.study.trials, strict=True):
        assert (new.state, new.intermediate_values) == (old.state, old.intermediate_values)
        assert new.values == (old.values and pytest.approx(old.values))
        assert new.params == pytest.approx(old.params, rel=1e-5)
    assert again.ask(10) == pytest.approx(proposer.ask(10), rel=1e-3)


def test_an_exported_search_opens_in_optuna(tmp_path: Path):
    trials = searched(6, 0, "tpe")
    trials[2] = Trial(2, "sampler", trials[2].params, "diverged", runs=("a1",), why="the loss is not finite")
    asked, told = (datetime(2026, 11, 22, 9, minute, tzinfo=UTC) for minute in (1, 7))
    trials[0] = replace(trials[0], started=asked.isoformat(), ended=told.isoformat())
    path = tmp_path / "s.db"
    path.write_text("an old file")
    export([(goal(), trials)], path)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{path}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2 + ["PRUNED"] + ["COMPLETE"] * 3
    assert study.best_value == best(trials)
    assert study.trials[2].user_attrs["state"] == "diverged"
    assert study.trials[0].params == trials[0].params
    times = (study.trials[0].datetime_start, study.trials[0].datetime_complete)
    assert [time.astimezone(UTC) for time in times if time] == [asked, told]
    assert [each.name for each in tmp_path.iterdir()] == ["s.db"]


@pytest.mark.parametrize("name", ["s.db?mode=ro", "s#1.db", "%73.db", "é; drop table.db"])
def test_an_export_has_the_name_that_was_asked_for(tmp_path: Path, name: str):
    export([(goal(), searched(1, 0, "random"))], tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes().startswith(b"SQLite format 3\0")


def test_an_export_replaces_the_target_of_a_link_and_no_pipe(tmp_path: Path):
    trials = searched(1, 0, "random")
    link, pipe = tmp_path / "link.db", tmp_path / "pipe"
    link.symlink_to("target.db")
    export([(goal(), trials)], link)
    assert link.is_symlink()
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 1 << 20)
    export([(goal(), trials)], pipe)
    assert pipe.is_fifo()
    assert os.read(reader, 16) == (tmp_path / "target.db").read_bytes()[:16] == b"SQLite format 3\0"
    os.close(reader)


def test_an_export_into_no_folder_is_a_message(tmp_path: Path):
    with pytest.raises(UserError, match=r"there/s\.db: cannot be written \(No such file or directory\)"):
        export([(goal(), searched(1, 0, "random"))], tmp_path / "not" / "there" / "s.db")


def chosen(name: str, **options: Any) -> Chosen:
    return Chosen(name, {key: Setting(value, "x.yaml:7") for key, value in options.items()}, "x.yaml:6")


@pytest.mark.parametrize(
    ("sampler", "pruner", "words"),
    [
        (
            chosen("tpe", n_startup_trial=3),
            Chosen("none"),
            "x.yaml:7: .*n_startup_trial: no option of tpe; did",
        ),
        (chosen("tpe", n_startup_trials="3"), Chosen("none"), "x.yaml:7: search.sampler.n_startup_trials: .*write 3"),
        (chosen("tpe", gamma=3), Chosen("none"), "x.yaml:7: search.sampler.gamma: no option of tpe"),
        (chosen("random", n_startup_trials=3), Chosen("none"), "x.yaml:7: .* no option of random"),
        (chosen("tpe", seed=-1), Chosen("none"), "x.yaml:7: search.sampler.seed: -1 is not from 0"),
        (chosen("nsga2", population_size=1), Chosen("none"), "x.yaml:6: search.sampler: nsga2: .*population_size"),
        (chosen("qmc", qmc_type="sobel"), Chosen("none"), "x.yaml:6: search.sampler: qmc: .*sobel"),
        (Chosen("tpe"), chosen("median", n_warmup_steps=-1), "x.yaml:6: search.pruner: median: .*warmup steps"),
        (Chosen("tpe"), chosen("asha", reduction=3), "x.yaml:7: search.pruner.reduction: .*reduction_factor"),
        (Chosen("tpe"), chosen("none", n_startup_trials=3), "x.yaml:7: .*none has none; remove it"),
        (Chosen("tpe"), chosen("hyperband", min_resource=0.5), "x.yaml:7: search.pruner.min_resource: .*integer"),
    ],
)
def test_an_option_that_is_none_is_named_with_its_place(sampler: Chosen, pruner: Chosen, words: str):
    with pytest.raises(UserError, match=words):
        check_choices(sampler, pruner)


def test_options_are_those_of_optuna_that_a_file_can_hold():
    assert {"n_startup_trials", "multivariate", "group", "seed"} <= options_of(TPESampler).keys()
    assert not {"gamma", "weights", "constraints_func"} & options_of(TPESampler).keys()

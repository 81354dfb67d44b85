"""A run that is stopped, killed or damaged on its way ends in the numbers of one that nothing disturbed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from every_task import STEPS, WITH_A_SCHEDULE, every_task, run_of, scheduled, trainer_of
from resuming import after, ended, numbers, stopped, unbroken

from titans_lab.store.checkpoints import checkpoints, save_checkpoint
from titans_lab.store.folder import RunFolder
from titans_lab.store.store import Store
from titans_lab.training.train import Diverged, Stopped, Trainer

EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return Store(tmp_path).run("run")


@pytest.mark.parametrize("task", every_task())
def test_a_run_that_is_stopped_again_and_again_has_the_numbers_of_one_that_is_not(
    task: str, tmp_path: Path, run: RunFolder
):
    config = run_of(task, tmp_path, log__valid_every=4, log__valid_bytes=100)
    for steps in (random.randrange(1, 4), random.randrange(3)):
        stopped(config, run, steps)
    assert ended(config, run) == unbroken(config, tmp_path)


@pytest.mark.parametrize("task", WITH_A_SCHEDULE)
def test_a_run_that_is_stopped_on_either_side_of_a_change_of_length_has_the_numbers_of_one_that_is_not(
    task: str, tmp_path: Path, run: RunFolder
):
    config = scheduled(task, tmp_path, log__valid_every=4, log__valid_bytes=100)
    length = config.train.length
    assert [step for step in range(1, STEPS) if length(step) != length(step - 1)] == [3]
    assert [stopped(config, run, steps).step for steps in (2, 1, 1)] == [2, 3, 4]
    assert ended(config, run) == unbroken(config, tmp_path)


@pytest.mark.parametrize(("variant", "precision"), [("lmm", "bfloat16"), ("mac", "float32"), ("samba", "float32")])
def test_models_of_all_kinds_go_on_where_they_were(variant: str, precision: str, tmp_path: Path, run: RunFolder):
    looked = {"log__memory_every": 3, "log__memory_tokens": 32}
    model = {"model__variant": variant, "model__memory__depth": 2, "model__n_layers": 2, "model__segment_len": 16}
    config = run_of("text", tmp_path, train__precision=precision, train__lr=1e-2, **model, **looked)
    taken = [stopped(config, run, 2).step, stopped(config, run, 0).step, stopped(config, run, 3).step]
    assert taken == [2, 2, 5]
    assert ended(config, run) == unbroken(config, tmp_path)


def test_a_checkpoint_is_written_every_so_often_and_the_last_two_are_kept(
    tmp_path: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("titans_lab.training.checkpoint.MOST_SHARE", math.inf)
    often = run_of("text", tmp_path, log__checkpoint_seconds=0.0)
    trainer = trainer_of(often, run.new_attempt())
    trainer.should_stop = after(4)
    with pytest.raises(Stopped):
        trainer.run()
    assert [saved.step for saved in checkpoints(run)] == [4, 3]
    seldom = trainer_of(run_of("text", tmp_path, log__checkpoint_seconds=None), RunFolder(tmp_path / "b").new_attempt())
    seldom.run()
    assert checkpoints(RunFolder(tmp_path / "b")) == []


def test_an_attempt_says_what_it_went_on_from_and_its_time_adds_up(tmp_path: Path, run: RunFolder):
    config = run_of("text", tmp_path)
    first = stopped(config, run, 4)
    first_seconds = first.summary(4)["wall_seconds"]
    [saved] = checkpoints(run)
    second = trainer_of(config, run.new_attempt())
    summary = second.run()
    assert second.recorder.env["resumed_from"] == {"attempt": 1, "step": 4}
    assert second.recorder.env["deterministic"] is True
    rows = [json.loads(line) for line in second.recorder.attempt.metrics_path.read_text().splitlines()]
    elapsed = [row["elapsed_seconds"] for row in rows]
    assert elapsed == sorted(elapsed)
    written = torch.load(saved.path, weights_only=True)["state"]
    assert 0 < written["elapsed"] <= first_seconds
    assert summary["wall_seconds"] > written["elapsed"]
    assert summary["peak_memory_bytes"] >= written["peak"]


def test_other_software_may_go_on_with_a_run_but_promises_no_bits(tmp_path: Path, run: RunFolder):
    config = run_of("text", tmp_path)
    stopped(config, run, 2).recorder.note({"torch": "of old"})
    second = trainer_of(config, run.new_attempt())
    second.run()
    assert second.recorder.env["deterministic"] is False


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    bit = bytes([content[len(content) // 2] ^ 1])
    flipped = content[: len(content) // 2] + bit + content[len(content) // 2 + 1 :]
    spoiled = {"cut": content[:-1], "emptied": b"", "noise": random.randbytes(len(content)), "flipped": flipped}
    path.unlink() if how == "gone" else path.write_bytes(spoiled[how])


@pytest.mark.parametrize("how", ["cut", "emptied", "noise", "flipped"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    how: str, tmp_path: Path, run: RunFolder, capsys: pytest.CaptureFixture[str]
):
    config = run_of("text", tmp_path)
    stopped(config, run, 2)
    stopped(config, run, 3)
    last, before = checkpoints(run)
    spoil(last.path, how)
    third = trainer_of(config, run.new_attempt())
    assert numbers(third, third.run()) == unbroken(config, tmp_path)
    assert third.recorder.env["resumed_from"] == {"attempt": 1, "step": before.step}
    assert f"{last.path}: is not what was written" in capsys.readouterr().err


class Runs:
    """Code that runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return print, ("it ran",)


def without(values: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}


def of_state(content: Any, **changes: Any) -> Any:
    return content | {"state": content["state"] | changes}


#: What stands in a checkpoint, made of what was in it.
STRANGE: dict[str, Callable[[Any], Any]] = {
    "a list": lambda _: [1],
    "no state": lambda content: without(content, "state"),
    "code": lambda content: content | {"code": Runs()},
    "text for a number": lambda content: of_state(content, step="2"),
    "a step behind the last": lambda content: of_state(content, step=10**6),
    "no optimizer": lambda content: of_state(content, optimizer={}),
    "a tensor less": lambda content: of_state(content, model=without(content["state"]["model"], "norm.weight")),
    "other shapes": lambda content: of_state(content, model=dict.fromkeys(content["state"]["model"], torch.zeros(1))),
    "a log elsewhere": lambda content: content | {"logs": {"../../../../../victim": {"bytes": 0, "sha256": EMPTY}}},
    "digests of another form": lambda content: content | {"logs": {"metrics": {"bytes": "0"}}},
}


@pytest.mark.parametrize("how", [*STRANGE, "no checkpoint"])
def test_a_whole_checkpoint_that_does_not_load_is_named_and_the_one_before_is_taken(
    how: str, tmp_path: Path, run: RunFolder, capsys: pytest.CaptureFixture[str]
):
    config = run_of("text", tmp_path)
    stopped(config, run, 2)
    stopped(config, run, 3)
    last, before = checkpoints(run)
    strange = io.BytesIO(b"no checkpoint")
    if how in STRANGE:
        torch.save(STRANGE[how](torch.load(last.path, weights_only=True)), strange)
    last.path.unlink()
    save_checkpoint(last.attempt, last.step, lambda file: file.write(strange.getvalue()))
    [path] = last.attempt.path.glob(f"checkpoint-{last.step}-*.pt")
    third = trainer_of(config, run.new_attempt())
    assert numbers(third, third.run()) == unbroken(config, tmp_path)
    assert third.recorder.env["resumed_from"] == {"attempt": 1, "step": before.step}
    said = capsys.readouterr()
    assert f"{path}: " in said.err
    assert "it ran" not in said.out
    assert not list(tmp_path.glob("victim*"))


def test_a_run_without_a_loadable_checkpoint_begins_anew(
    tmp_path: Path, run: RunFolder, capsys: pytest.CaptureFixture[str]
):
    config = run_of("text", tmp_path)
    attempt = stopped(config, run, 2).recorder.attempt
    [saved] = checkpoints(run)
    content = torch.load(saved.path, weights_only=True)
    saved.path.unlink()
    halved = {name: x / 2 for name, x in content["state"]["model"].items() if name != "norm.weight"}
    content["state"]["model"] = halved  # which are copied before the missing one is noticed
    save_checkpoint(attempt, 2, lambda file: torch.save(content, file))
    second = trainer_of(config, run.new_attempt())
    assert numbers(second, second.run()) == unbroken(config, tmp_path)
    assert "resumed_from" not in second.recorder.env
    assert "or from the start" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["cut", "emptied", "flipped", "gone"])
def test_a_checkpoint_whose_lines_are_damaged_is_not_taken(
    how: str, tmp_path: Path, run: RunFolder, capsys: pytest.CaptureFixture[str]
):
    config = run_of("text", tmp_path)
    attempt = stopped(config, run, 5).recorder.attempt
    spoil(attempt.metrics_path, how)
    second = trainer_of(config, run.new_attempt())
    assert numbers(second, second.run()) == unbroken(config, tmp_path)
    assert "resumed_from" not in second.recorder.env
    assert str(attempt.metrics_path) in capsys.readouterr().err


def test_lines_behind_the_checkpoint_are_forgotten(tmp_path: Path, run: RunFolder):
    """What a killed attempt logged after its last checkpoint is computed, and logged, again."""
    config = run_of("text", tmp_path)
    first = stopped(config, run, 4)
    first.recorder.log(step=6, loss=9.0)
    with first.recorder.attempt.metrics_path.open("a") as some:
        some.write('{"step": 7, "lo')
    assert ended(config, run) == unbroken(config, tmp_path)


def test_a_training_may_be_stopped_while_it_is_evaluated(tmp_path: Path, run: RunFolder):
    config = run_of("text", tmp_path, log__valid_every=3)
    for step in (3, STEPS):
        trainer = trainer_of(config, run.new_attempt())
        stop_in_evaluation_of(trainer, step)
        with pytest.raises(Stopped):
            trainer.run()
        assert checkpoints(run)[0].step == step
    assert ended(config, run) == unbroken(config, tmp_path)


def stop_in_evaluation_of(trainer: Trainer, step: int) -> None:
    def asked() -> tuple[str, str] | None:
        return None if trainer.model.training or trainer.step < step else ("cancelled", "enough")

    trainer.should_stop = asked


def test_a_run_that_diverges_does_so_at_the_same_step(tmp_path: Path, run: RunFolder):
    config = run_of("text", tmp_path, train__lr=1e30, log__every=7)
    stopped(config, run, 1)
    steps = []
    for attempt in (run.new_attempt(), RunFolder(tmp_path / "unbroken").new_attempt()):
        with pytest.raises(Diverged) as caught:
            trainer_of(config, attempt).run()
        steps.append(caught.value.step)
    assert steps[0] == steps[1] > 1


def test_a_run_that_was_stopped_before_its_first_line_has_no_training_loss(tmp_path: Path, run: RunFolder):
    trainer = stopped(run_of("text", tmp_path, log__every=100), run, 1)
    assert trainer.summary(1)["train_loss"] is None

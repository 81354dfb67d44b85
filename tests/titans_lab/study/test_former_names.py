"""Former names of keys and choices: wherever a study may have one, the error names the new name."""

from __future__ import annotations

from pathlib import Path

import pytest

from titans_lab.errors import UserError
from titans_lab.run.values import FORMER
from titans_lab.study.study import load_study

RUN_KEYS = [key for key in FORMER if key.startswith(("model.", "train.", "log."))]
STUDY_KEYS = [key for key in FORMER if key.startswith(("metric.", "budget."))]
CHOICES = {
    "min": "metric: {name: loss, direction: min}",
    "lower": "metric: {name: loss, direction: lower}",
    "max": "metric: {name: loss, direction: max}",
    "higher": "metric: {name: loss, direction: higher}",
    "feed_forward": "hold: {what: params, by: feed_forward}",
}


def nested(key: str) -> str:
    """Return `{a: {b: 1}}` for "a.b"."""
    head, _, rest = key.partition(".")
    return f"{{{head}: {nested(rest) if rest else 1}}}"


def refusal(folder: Path, text: str, *overrides: str) -> str:
    """Return the error of a study."""
    path = folder / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_study(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize("key", RUN_KEYS)
def test_a_former_key_of_a_run_is_refused_with_its_new_name(tmp_path: Path, key: str) -> None:
    says = f"{key}: unknown key; its name is now {FORMER[key]}"
    assert refusal(tmp_path, f"base: {nested(key)}\n") == f"{tmp_path}/x.yaml:1: {says}"
    assert refusal(tmp_path, f"question: q\ngrid: {{{key}: [1]}}\n") == f"{tmp_path}/x.yaml:2: {says}"
    assert refusal(tmp_path, "question: q\n", f"{key}=1") == f"override {key}=1: {says}"
    assert refusal(tmp_path, "question: q\n", f"grid.{key}=[1]") == f"override grid.{key}=[1]: {says}"


@pytest.mark.parametrize("key", STUDY_KEYS)
def test_a_former_key_of_a_study_is_refused_with_its_new_name(tmp_path: Path, key: str) -> None:
    says = f"{key}: unknown key; its name is now {FORMER[key]}"
    assert f"{tmp_path}/x.yaml:1: {says}" in refusal(
        tmp_path, f"{key.partition('.')[0]}: {nested(key)[1:-1].partition(': ')[2]}\n"
    )
    assert f"override {key}=1: {says}" in refusal(tmp_path, "question: q\n", f"{key}=1")


@pytest.mark.parametrize("choice", [name for name in FORMER if "." not in name])
def test_a_former_choice_is_refused_with_its_new_name(tmp_path: Path, choice: str) -> None:
    assert f"; its name is now {FORMER[choice]}" in refusal(tmp_path, CHOICES[choice] + "\n")

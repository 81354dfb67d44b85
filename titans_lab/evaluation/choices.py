"""Choose the questions of an evaluation: needles of some kinds, or stories of some files, at some lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from titans_lab.errors import UserError
from titans_lab.evaluation.evaluations import ANSWER_TOKENS, EvaluationRequest, Sources, kind_of
from titans_lab.run.run import config_of
from titans_lab.tasks.needle import KINDS, NeedleSettings

Choice: TypeAlias = tuple[EvaluationRequest, Sources]


def needles(
    record: dict[str, Any], kinds: Sequence[str], template: str | None, text: Path | None, words: Path | None
) -> list[Choice]:
    """Return a request with needles of each kind, whose length is still open.

    Args:
        record: The record of the run.
        kinds: The kinds. By default the kind that the run was trained on, or "passkey".
        template: The template. By default the one that the run was trained on, or "ruler".
        text: The text to hide needles in. By default Python's documentation.
        words: A folder of word lists for keys. By default built-in lists.
    """
    settings = config_of(record).task.settings
    trained = settings if isinstance(settings, NeedleSettings) else None
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"--kinds {','.join(kinds)}: {kind!r} is not one of {', '.join(KINDS)}")
    wanted = kinds or [trained.kind if trained else "passkey"]
    template = template or (trained.template if trained else "ruler")
    sources = _sources(text, words)
    return [(EvaluationRequest("needle", kind, 0, 1, 0, ANSWER_TOKENS["needle"], template), sources) for kind in wanted]


def stories(facts: Sequence[Path], text: Path | None) -> list[Choice]:
    """Return a request with the stories of each file, whose length is still open."""
    if not facts:
        raise UserError("--facts: missing; give a file of bAbI stories, such as qa1_single-supporting-fact_test.txt")
    asked = [EvaluationRequest("babilong", kind_of(file.name), 0, 1, 0, ANSWER_TOKENS["babilong"]) for file in facts]
    return [(each, _sources(text, facts=file)) for each, file in zip(asked, facts, strict=True)]


def at_lengths(
    choices: Sequence[Choice], lengths: Sequence[int], count: int, seed: int, writes: Literal["on", "off"] = "on"
) -> list[Choice]:
    """Return a request of `count` questions of each kind at each length, with the model's writes on or off."""
    return [
        (replace(asked, length=length, count=count, seed=seed, writes=writes), sources)
        for asked, sources in choices
        for length in lengths
    ]


def _sources(text: Path | None, words: Path | None = None, facts: Path | None = None) -> Sources:
    """Return the files by their absolute paths, which are valid in another process, too."""
    return Sources(*(None if path is None else str(path.absolute()) for path in (text, words, facts)))

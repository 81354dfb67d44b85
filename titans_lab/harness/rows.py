"""Read the rows of lm-eval's tasks from files of JSON lines, in the form of the hub's datasets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from titans_lab.data.sources import is_json_lines, json_objects, open_text
from titans_lab.errors import UserError

Row = dict[str, Any]

#: The splits, and the words for them in a file's name. Of several files, the one with the earlier split is used.
SPLITS = {"test": ("test",), "valid": ("valid", "dev"), "train": ("train",)}
TITLE = re.compile(r"^ = [^=].* = $", re.MULTILINE)  # the title of an article in WikiText


def _same(row: Row) -> Row:
    return row


def _hellaswag(row: Row) -> Row:
    """Return a row with `query` and `choices`, which lm-eval makes from the fields of the original."""
    if "query" in row:
        return {"query": row["query"], "choices": row["choices"], "label": int(row["gold"])}
    from lm_eval.tasks.hellaswag.utils import preprocess

    context = row["ctx_a"] + " " + row["ctx_b"].capitalize()
    query = preprocess(row["activity_label"] + ": " + context)
    return {"query": query, "choices": [preprocess(end) for end in row["endings"]], "label": int(row["label"])}


def _arc(row: Row) -> Row:
    """Return a row with the letters of the answers."""
    if "gold" not in row:
        return row
    labels = [chr(ord("A") + place) for place in range(len(row["choices"]))]
    choices = {"text": row["choices"], "label": labels}
    return {"question": row["question"], "choices": choices, "answerKey": labels[row["gold"]]}


def _boolq(row: Row) -> Row:
    label = row["label"] if "label" in row else row["answer"]
    return {"passage": row["passage"], "question": row["question"], "label": int(label)}


#: For each task: the beginnings of its files' names, the keys of the hub's rows, and what converts a row to these.
FORMS: dict[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[Row], Row]]] = {
    "wikitext": (("wikitext", "wiki."), ("page",), _same),
    "lambada_openai": (("lambada",), ("text",), _same),
    "piqa": (("piqa",), ("goal", "sol1", "sol2", "label"), _same),
    "hellaswag": (("hellaswag",), ("query", "choices", "label"), _hellaswag),
    "winogrande": (("winogrande",), ("sentence", "option1", "option2", "answer"), _same),
    "arc_easy": (("arc_easy", "arc-easy"), ("question", "choices", "answerKey"), _arc),
    "arc_challenge": (("arc_challenge", "arc-challenge"), ("question", "choices", "answerKey"), _arc),
    "social_iqa": (("social_iqa", "siqa"), ("context", "question", "answerA", "answerB", "answerC", "label"), _same),
    "boolq": (("boolq",), ("passage", "question", "label"), _boolq),
}


def find(task: str, folder: Path) -> tuple[Path, str]:
    """Return the file of a task in a folder or below, and the split in its name. Raise UserError if there is none."""
    if not folder.is_dir():
        raise UserError(f"--data: {folder}: no such folder, relative to {Path.cwd()}")
    beginnings = FORMS[task][0]
    files = (path for path in folder.rglob("*") if path.is_file() and path.name.lower().startswith(beginnings))
    found = sorted(path for path in files if is_json_lines(path) or (task == "wikitext" and ".tokens" in path.name))
    for split, words in SPLITS.items():
        for path in found:
            if any(word in path.name.lower() for word in words):
                return path, split
    names = " or ".join(f"{beginning}*" for beginning in beginnings)
    raise UserError(
        f"--data: {folder} has no file for {task}: JSON lines, plain or gzip, called {names} with test, valid, dev or "
        "train in the name"
    )


def read(task: str, path: Path) -> Iterator[Row]:
    """Yield the rows of a file. Raise UserError, with file and line, where a row is not what the task needs."""
    _, keys, form = FORMS[task]
    if not is_json_lines(path):
        yield from ({"page": page} for page in articles(path))
        return
    empty = True
    for line, row in json_objects(path):
        yield _row(row, keys, form, f"{path}:{line}")
        empty = False
    if empty:
        raise UserError(f"{path}: empty; it has no line of JSON")


def _row(row: Row, keys: tuple[str, ...], form: Callable[[Row], Row], place: str) -> Row:
    try:
        made = form(row)
        return {key: made[key] for key in keys}
    except KeyError as error:
        raise UserError(f"{place}: no {error}; its keys are {', '.join(row)}") from error
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(f"{place}: not a row of this task ({error})") from error


def articles(path: Path) -> list[str]:
    """Return the articles of a WikiText file, which begin with a title of the first level."""
    with open_text(path) as file:
        try:
            text = file.read().decode()
        except (EOFError, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read ({error}); fetch it again") from error
    begins = [match.start() for match in TITLE.finditer(text)] or [0]
    return [text[begin:end] for begin, end in zip(begins, [*begins[1:], len(text)], strict=True)]


def load(name: str, folder: str, **_: Any) -> Any:
    """Return the rows of a task's file as the split "rows". The files in `harness/tasks` name this function."""
    import datasets

    rows = list(read(name, find(name, Path(folder))[0]))
    return {"rows": datasets.Dataset.from_list(rows)}

"""Put lm-eval's tasks to a finished run: `python -m titans_lab.harness --device cpu`.

On standard input comes JSON: `store`, `run` and `asked`, a list of `Asked`. A line of JSON goes out for each:
`evaluation`, `recorded` and `rows`; or `wrong`, where the user has to mend something.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from titans_lab.corpus import trained_tokenizer
from titans_lab.environment import environment
from titans_lab.errors import UserError
from titans_lab.harness.asking import Asked, evaluation_id, source
from titans_lab.harness.evaluate import evaluate, prepare_environment
from titans_lab.store.folder import RunFolder, Store, writing
from titans_lab.store.weights import find_run
from titans_lab.trained import load_run

if TYPE_CHECKING:
    from titans_lab.harness.model import HarnessModel


@dataclass(frozen=True, eq=False)
class Examined:
    """A run that is asked."""

    store: Store
    folder: RunFolder
    device: torch.device

    @cached_property
    def model(self) -> HarnessModel:
        """Loaded when something is asked that is not recorded."""
        from titans_lab.harness.model import HarnessModel

        trained = load_run(self.store, self.folder.run_id, self.device)
        tokenizer = trained_tokenizer(trained.config, trained.data_hash)
        return HarnessModel(trained.model, tokenizer, self.device, trained.config.train.precision)

    def answer(self, asked: Asked, version: str) -> dict[str, Any]:
        """The rows of an evaluation: recorded, or found out and then recorded."""
        split, digest = source(asked)
        name = evaluation_id(self.folder.run_id, asked, digest, version)
        record = self.folder.evaluation(name)
        if record is not None:
            return {"evaluation": name, "recorded": True, "rows": record["rows"]}
        rows = self._rows(asked, split)
        about = {"asked": vars(asked), "data_hash": digest, "env": environment() | {"lm_eval": version}}
        now = datetime.now(UTC).isoformat()
        with writing(self.store):
            self.folder.save_evaluation(name, {**about, "device": self.device.type, "finished": now, "rows": rows})
        return {"evaluation": name, "recorded": False, "rows": rows}

    def _rows(self, asked: Asked, split: str) -> list[dict[str, Any]]:
        data = None if asked.data is None else Path(asked.data)
        scores = evaluate(self.model, asked.task, data, split, asked.limit)
        note = f"first {asked.limit} rows" if asked.limit else None
        return [score.row(asked.task) | {"note": note} for score in scores]


def main() -> None:
    """Answer what is asked."""
    parser = argparse.ArgumentParser(prog="python -m titans_lab.harness", description="lm-eval's tasks, for a run.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # as workers do
    request = json.load(sys.stdin)
    store = Store(Path(request["store"]))
    asked = [Asked(**each) for each in request["asked"]]
    examined = Examined(store, find_run(store, request["run"]), torch.device(given.device))
    for each in asked:
        try:
            with contextlib.redirect_stdout(sys.stderr):  # which is lm-eval's to write on
                version = prepare_environment(online=each.data is None)
                answer = examined.answer(each, version)
        except UserError as error:
            answer = {"wrong": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

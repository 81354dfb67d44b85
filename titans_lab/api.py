"""The interface for scripts and notebooks: a store with its studies, runs, models and reports.

`titans_lab` exports these names. The verbs of the command line call the same functions of the library.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from titans_lab import launch
from titans_lab.errors import UserError
from titans_lab.launch import Launch, Options, SweepOutcome
from titans_lab.plugins.consent import allow_all as allow_plugins
from titans_lab.quantities import plural
from titans_lab.store import store as stores
from titans_lab.study.study import Study, study_of
from titans_lab.study.study import load_study as load_file

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

    from titans_lab.evaluation.evaluations import Result
    from titans_lab.evaluation.trained import Trained
    from titans_lab.planning.plan import Plan
    from titans_lab.report import Report
    from titans_lab.run.run import Run

__all__ = [
    "OpenStore",
    "Options",
    "Study",
    "StudySource",
    "SweepOutcome",
    "UserError",
    "allow_plugins",
    "load_study",
    "open_store",
]

#: A study file, the content of one as a dictionary, or a study that `load_study` returned.
StudySource: TypeAlias = "str | Path | Mapping[str, Any] | Study"


def load_study(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Study:
    """Return a study, checked.

    Args:
        source: A study file, or the content of one as a dictionary, which needs the key `name`.
        overrides: Texts `key=value` as on the command line, such as "train.tokens=2_000_000".

    Raises:
        UserError: The study is wrong. The message has a line for each problem.
    """
    return study_of(source, overrides) if isinstance(source, Mapping) else load_file(Path(source), overrides)


def open_store(folder: str | Path | None = None) -> OpenStore:
    """Return the store in a folder, by default in $TITANS_LAB_STORE or else ./results. The first sweep makes it.

    Raises:
        UserError: The folder is something else, or cannot be read.
    """
    return OpenStore(stores.open_store(None if folder is None else Path(folder)).root)


@dataclass(frozen=True)
class OpenStore:
    """The store in a folder, with what can be done with it.

    Attributes:
        root: The folder.
    """

    root: Path

    @property
    def _store(self) -> stores.Store:
        return stores.Store(self.root)

    def query(self, sql: str, **parameters: Any) -> pa.Table:
        """Return the result of one SELECT over the views as an Arrow table.

        A record that cannot be read is left out, with a warning.

        Args:
            sql: The statement, in DuckDB's SQL. docs/columns.md has the views and their columns.
            parameters: The values of `$name` in the statement.

        Raises:
            UserError: There is no store, or the statement is wrong.
        """
        from titans_lab.store.query import ask

        answer = ask(self.root, sql, parameters)
        for each in answer.damage:
            warnings.warn(str(each), stacklevel=2)
        return answer.table

    def runs(self) -> pa.Table:
        """Return the view `runs`: a row for each run, with its configuration, state, cost and results."""
        return self.query("select * from runs order by run_id")

    def metrics(self, run: str) -> pa.Table:
        """Return the learning curve of the run whose id begins with `run`, while it is trained too."""
        return self.query("select * from metrics where run_id = $run order by step", run=self._run_id(run))

    def plan(self, study: StudySource, overrides: Sequence[str] = ()) -> Plan:
        """Return the runs of a study with their size, cost and state. Nothing runs."""
        from titans_lab.executors.devices import cores, gpus
        from titans_lab.planning.plan import plan

        found, runs = _loaded(study, overrides)
        devices = gpus() or cores()
        launch.refuse_too_few(found, devices)
        return plan(found.launch_order(runs), self._store, devices, metric=found.metric, effect=found.effect)

    def sweep(
        self,
        study: StudySource,
        overrides: Sequence[str] = (),
        options: Options | None = None,
        verify: bool = True,
        progress: bool = True,
        track: Sequence[str] = (),
    ) -> SweepOutcome:
        """Train the missing runs of a study on this machine. The same call continues an interrupted sweep.

        Args:
            study: The study.
            overrides: Texts `key=value` as on the command line.
            options: How to run it. Default: one run at a time on each device.
            verify: Whether to verify first what is not yet verified on this machine.
            progress: Whether to show the progress: in place in a notebook, in lines on standard error elsewhere.
            track: The trackers that mirror the runs, such as "tensorboard": see docs/tracking.md.

        Raises:
            UserError: The study is wrong, cannot run on this machine, or verification failed.
        """
        from titans_lab.hooks import Hooks, run
        from titans_lab.watching import shown

        hooks = Hooks(tuple(track))
        devices, warning = launch.usable_devices()
        if warning:
            warnings.warn(warning, stacklevel=2)
        prepared = launch.prepare(*_loaded(study, overrides), self._store, devices, options or Options())
        if verify:
            _verify(prepared)
        with shown(prepared.waiting) if progress else nullcontext(lambda _: None) as look:
            return run(prepared, look, hooks, lambda line: warnings.warn(line, stacklevel=3))

    def report(self, study: StudySource | None = None, overrides: Sequence[str] = ()) -> Report:
        """Return the report on a study, or on the whole store. `figures` of the result has its figures.

        Raises:
            UserError: The store has no run of it.
        """
        from titans_lab.report import recorded_report, store_report

        if study is None:
            return store_report(self.root)
        return recorded_report(*_loaded(study, overrides), self.root)

    def load(self, run: str, device: torch.device | str = "cpu") -> Trained:
        """Return the finished run whose id begins with `run`, with its model on `device`.

        Raises:
            UserError: There is no such run, or several, or it is not done or no language model, or has no weights.
        """
        from titans_lab.evaluation.trained import load_run

        return load_run(self._store, run, device)

    def evaluate(
        self,
        run: str,
        task: Literal["needle", "babilong"] = "needle",
        lengths: Sequence[int] = (2048, 4096),
        count: int = 25,
        *,
        kinds: Sequence[str] = (),
        template: str | None = None,
        facts: Sequence[Path] = (),
        text: Path | None = None,
        words: Path | None = None,
        seed: int = 0,
        writes: Literal["on", "off"] = "on",
    ) -> list[Result]:
        """Evaluate a finished run on long inputs. The arguments are the options of `titans-lab eval`.

        The store keeps each evaluation in the view `evals`, and what it has is not computed again.

        Returns:
            A result for each kind and length, with the `share` of right answers and its `interval`.

        Raises:
            UserError: The run is not done, or an argument does not fit it.
        """
        from titans_lab.evaluation.choices import at_lengths, needles, stories
        from titans_lab.evaluation.evaluations import evaluate
        from titans_lab.store.weights import check_weights, find_run

        folder = find_run(self._store, run)
        check_weights(folder)
        of_needles = task == "needle"
        asked = needles(folder.record(), kinds, template, text, words) if of_needles else stories(facts, text)
        devices, _ = launch.usable_devices()
        return list(evaluate(self._store, folder.run_id, at_lengths(asked, lengths, count, seed, writes), devices[0]))

    def export(self, run: str, folder: str | Path) -> list[str]:
        """Write a finished run for transformers, as `titans-lab export RUN --to hf FOLDER` does.

        Returns:
            The names of the files.

        Raises:
            UserError: transformers is not installed, the run has no weights, or the folder is not empty.
        """
        from titans_lab.huggingface import export

        return export(self._store, run, Path(folder))

    def _run_id(self, prefix: str) -> str:
        from titans_lab.store.weights import find_run

        return find_run(self._store, prefix).run_id


def _loaded(source: StudySource, overrides: Sequence[str]) -> tuple[Study, list[Run]]:
    """Return a study and its runs, with their data checked. Probable mistakes are warnings."""
    if isinstance(source, Study) and overrides:
        raise UserError(f"{overrides[0]}: the study is loaded already; give load_study the overrides")
    study = source if isinstance(source, Study) else load_study(source, overrides)
    runs = launch.checked_runs(study)
    _warn([*study.warnings, *launch.data_warnings(runs)])
    return study, runs


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        warnings.warn(line, stacklevel=4)


def _verify(prepared: Launch) -> None:
    """Verify what is not yet verified, before any run starts. Raise UserError where an error is out of tolerance."""
    from titans_lab.verify.process import unverified, verify

    store, seed = prepared.sweep.store, secrets.randbits(32)
    plans = unverified(prepared.waiting, prepared.sweep.devices, store)
    rows = [row for device, wanted in plans for row in verify(wanted, device, store, seed)]
    if wrong := [row for row in rows if not row.ok]:
        first = wrong[0]
        raise UserError(
            f"verification: {plural(len(wrong), 'check')} of {len(rows)} out of tolerance, first {first.check} of "
            f"{first.configuration} with an error of {first.worst:.1e}; nothing was started; `titans-lab verify` shows "
            "all checks, and verify=False starts the runs regardless"
        )

"""The trackers, each behind the same two calls. A tracker's own environment variables say where it sends things."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from titans_lab.store.status import FINISHED

Config = Mapping[str, Any]
Values = Mapping[str, float]


class TrackedRun(Protocol):
    """A run of a tracker, under whatever name the tracker gives to it."""

    def log(self, step: int, values: Values) -> None:
        """Add a point to the curves."""

    def end(self, state: str, results: Values) -> None:
        """Add the final figures, and end the run in a state."""


class Tracker(Protocol):
    """A program that shows runs."""

    def begin(self, run_id: str, label: str, config: Config) -> TrackedRun:
        """Begin a run with its configuration by dotted key."""


def make(name: str, folder: Path, study: str) -> Tracker:
    """Return a tracker by its name.

    Args:
        name: A name of `titans_lab.tracking.TRACKERS`.
        folder: The folder for what it keeps on this machine.
        study: The name of the study.
    """
    made: dict[str, Callable[[Path, str], Tracker]] = {
        "tensorboard": TensorBoard,
        "wandb": WeightsAndBiases,
        "trackio": Trackio,
        "mlflow": MLflow,
    }
    return made[name](folder, study)


class TensorBoard:
    """Event files below the folder: `tensorboard --logdir <store>/tracking/tensorboard` shows them."""

    def __init__(self, folder: Path, study: str) -> None:
        self.folder = folder / _file_name(study)

    def begin(self, run_id: str, label: str, config: Config) -> TrackedRun:
        """Begin a folder of events with the configuration as a text."""
        return _Events(self.folder / f"{_file_name(label)}-{run_id[:8]}", config)


class _Events:
    def __init__(self, folder: Path, config: Config) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer, self.config = SummaryWriter(str(folder)), config
        self.writer.add_text("config", f"```json\n{json.dumps(config, indent=1, default=str)}\n```")

    def log(self, step: int, values: Values) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def end(self, state: str, results: Values) -> None:
        plain = {key: each if isinstance(each, bool | int | float) else str(each) for key, each in self.config.items()}
        figures = {f"final/{name}": value for name, value in results.items()}
        self.writer.add_hparams(plain | {"state": state}, figures, run_name=".")
        self.writer.close()


class WeightsAndBiases:
    """Runs of a project named after the study, or after $WANDB_PROJECT. With $WANDB_MODE=offline nothing is sent."""

    def __init__(self, folder: Path, study: str) -> None:
        self.folder, self.study = folder, study

    def begin(self, run_id: str, label: str, config: Config) -> TrackedRun:
        """Begin a run under the same id."""
        import wandb

        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or _file_name(self.study),
            id=run_id,
            name=label,
            config=dict(config),
            dir=str(self.folder),
            resume="allow",
            reinit="create_new",
        )
        return _WandbRun(run)


class _WandbRun:
    def __init__(self, run: Any) -> None:
        self.run = run

    def log(self, step: int, values: Values) -> None:
        self.run.log(dict(values), step=step)

    def end(self, state: str, results: Values) -> None:
        self.run.summary.update({f"final/{name}": value for name, value in results.items()} | {"state": state})
        self.run.finish(exit_code=0 if state in FINISHED else 1)


class Trackio:
    """Runs of a project named after the study, in the folder, or where $TRACKIO_DIR says."""

    def __init__(self, folder: Path, study: str) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(folder))
        self.study = study

    def begin(self, run_id: str, label: str, config: Config) -> TrackedRun:
        """Begin a run."""
        import trackio

        name = f"{label} {run_id[:8]}"
        return _TrackioRun(trackio.init(project=_file_name(self.study), name=name, config=dict(config), embed=False))


class _TrackioRun:
    def __init__(self, run: Any) -> None:
        self.run, self.step = run, 0

    def log(self, step: int, values: Values) -> None:
        self.step = step
        self.run.log(dict(values), step=step)

    def end(self, state: str, results: Values) -> None:
        self.run.log({f"final/{name}": value for name, value in results.items()}, step=self.step)
        self.run.finish()


class MLflow:
    """Runs of an experiment named after the study, in a database in the folder, or where $MLFLOW_TRACKING_URI says."""

    def __init__(self, folder: Path, study: str) -> None:
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute()}/mlflow.db"
        self.client = MlflowClient(uri)
        found = self.client.get_experiment_by_name(study)
        self.experiment = found.experiment_id if found else self.client.create_experiment(study)

    def begin(self, run_id: str, label: str, config: Config) -> TrackedRun:
        """Begin a run with the store's id as a tag."""
        run = self.client.create_run(self.experiment, run_name=label, tags={"titans_lab.run_id": run_id})
        return _MlflowRun(self.client, run.info.run_id, config)


class _MlflowRun:
    def __init__(self, client: Any, run: str, config: Config) -> None:
        from mlflow.entities import Param

        self.client, self.run, self.step = client, run, 0
        client.log_batch(run, params=[Param(key, str(value)[:6000]) for key, value in config.items()])

    def log(self, step: int, values: Values) -> None:
        from mlflow.entities import Metric

        self.step, now = step, round(1000 * time.time())
        self.client.log_batch(self.run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def end(self, state: str, results: Values) -> None:
        self.log(self.step, {f"final/{name}": value for name, value in results.items()})
        self.client.set_tag(self.run, "titans_lab.state", state)
        self.client.set_terminated(self.run, "FINISHED" if state in FINISHED else "FAILED")


def _file_name(text: str) -> str:
    """Return a text as part of a path."""
    return re.sub(r"[^\w.=-]+", "_", text)[:80].strip(".") or "run"

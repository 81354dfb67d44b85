"""Settings of the task `series`: forecasting a multivariate time series from a CSV file, `data.path`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from titans.models.config import ModelConfig
from titans_lab.run.metric import Metric
from titans_lab.run.sections import DataConfig, TrainConfig
from titans_lab.tasks.settings import Ends, TaskSettings

MSE = Metric("mse", "squared error of scaled values", column="score")
MAE = Metric("mae", "absolute error of scaled values")


@dataclass(frozen=True)
class SeriesSettings(TaskSettings):
    """Multivariate forecasts, one channel at a time, by the protocol of `titans_lab.data.series`.

    An example is a window of one channel. Its past is cut into `train.seq_len` patches, the tokens of the model.

    Attributes:
        look_back: The steps of the past, a multiple of `train.seq_len`. Most published tables have 96.
        horizon: The steps of the future. Published tables have 96, 192, 336 and 720, and the mean over these.
        loss: The training loss: "mse", "mae", or "huber" (quadratic up to one standard deviation of the channel).
        cycle: The steps of a cycle, such as a day. Its mean profile in the training part is subtracted from each
            channel and added to the forecast (CycleNet, arXiv 2409.18479, learns it). 1: no cycle.
        linear: The linear forecast that the blocks add to: "ridge" is fitted in closed form before training and then
            fixed, so that a run begins at that baseline. "learned" is trained with the rest, from 0.
        normalisation: The normalisation of the blocks' input, undone in their output: "last" subtracts the last value,
            "revin" subtracts the mean and divides by the standard deviation.
    """

    NAME: ClassVar[str] = "series"
    TASK: ClassVar[str] = "titans_lab.tasks.series.task:SeriesTask"
    READS: ClassVar[frozenset[str]] = frozenset({"path"})
    LOSS: ClassVar[Metric] = Metric("loss", "error of scaled values", column="loss")
    METRIC: ClassVar[Metric] = MSE

    look_back: int = 96
    horizon: int = 96
    loss: Literal["mse", "mae", "huber"] = "huber"
    cycle: int = 1
    linear: Literal["ridge", "learned"] = "ridge"
    normalisation: Literal["last", "revin"] = "last"

    def __post_init__(self) -> None:
        for name in ("look_back", "horizon", "cycle"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is below 1")

    def check(self, model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
        """Refuse a past that is no whole number of patches, and a missing file."""
        if data.path is None:
            raise ValueError("data.path: null, and the task series reads a CSV file; name one")
        if train.schedule is not None:
            raise ValueError("train.schedule: a forecast reads a past of one length; remove the schedule")
        if self.look_back % train.seq_len:
            raise ValueError(
                f"train.seq_len: {train.seq_len} patches do not divide task.series.look_back ({self.look_back});"
                " set it to a divisor"
            )

    def digest(self, data: DataConfig) -> str:
        """Return the hash of the file's content."""
        from titans_lab.data.series import series_digest

        return series_digest(str(data.path), self.look_back, self.horizon, self.cycle)

    def warnings(self, data: DataConfig) -> list[str]:
        """Name channels that are constant in the training part."""
        from titans_lab.data.series import series_warnings

        return series_warnings(str(data.path), self.look_back, self.horizon, self.cycle)

    def source(self, data: DataConfig) -> str:
        """Return the file's path."""
        return str(data.path)

    def ends(self, model: ModelConfig, length: int) -> Ends:
        """Return the cost of the patch embedding, the norm, the head and the linear forecast."""
        patch = self.look_back // length
        head = (length * model.dim + self.look_back) * self.horizon
        return Ends(patch * model.dim + 2 * model.dim + head, patch * model.dim + head // length)

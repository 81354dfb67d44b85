"""Forecast multivariate time series: one channel at a time, with errors of scaled values over all channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from titans.models.forecaster import Forecaster
from titans_lab.data.parts import PARTS, Part
from titans_lab.data.series import Series, load_series
from titans_lab.run.config import RunConfig
from titans_lab.stats.forecast import Errors, errors, linear, repeat_last, ridge
from titans_lab.tasks.series import MAE, MSE, SeriesSettings
from titans_lab.tasks.task import Batch, Score, Task, precise, random_of

LOSSES: dict[str, Callable[..., Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}
JUDGED = 2048  # windows of one channel in a batch of an evaluation


class SeriesTask(Task):
    """The task of forecasting: random windows and channels in training, every window of a part in evaluations.

    During training the validation part is evaluated, at the end the test part, too. Raise UserError where a part is too
    short.
    """

    settings: SeriesSettings

    def __init__(self, settings: SeriesSettings, series: Series, seed: int, tokens: int, batch: int) -> None:
        super().__init__(settings, series.digest, series.source)
        self.seed, self.tokens, self.batch = seed, tokens, batch
        self.plain = self._windows(series)
        self.windows = self._windows(series.without_cycle(settings.cycle)) if settings.cycle > 1 else self.plain

    @classmethod
    def build(cls, config: RunConfig, seed: int) -> SeriesTask:
        """Read `data.path`."""
        settings = config.task.settings
        assert isinstance(settings, SeriesSettings)
        series = load_series(str(config.data.path))
        return cls(settings, series, seed, config.train.seq_len, config.train.batch_size)

    def model(self, config: RunConfig, seed: int) -> Forecaster:
        """Return a model with a head to the horizon."""
        s = self.settings
        model = Forecaster(config.model, self.tokens, s.look_back, s.horizon, s.normalisation, seed)
        if s.linear == "ridge":
            model.direct.weight.data.copy_(torch.from_numpy(self.ridge.T))
            model.direct.requires_grad_(False)
        return model

    @cached_property
    def ridge(self) -> np.ndarray:
        """Return the ridge regression of the training part `[horizon, look_back]`, on the model's inputs."""
        return ridge(self.windows["train"], self.settings.look_back)

    def sample(self, step: int) -> Batch:
        """Return pasts `[batch, look_back]` and futures `[batch, horizon]`."""
        random = random_of(self.digest, self.seed, step, self.settings.look_back, self.settings.horizon, self.batch)
        windows, _, channels = self.windows["train"].shape
        places = random.integers(0, windows, self.batch), random.integers(0, channels, self.batch)
        return self._cut(self.windows["train"][places[0], :, places[1]])

    def losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the training loss `[batch]`, summed over the horizon."""
        past, future = batch
        return LOSSES[self.settings.loss](precise(model(past)), future, reduction="none").sum(1)

    def terms(self, batch: Batch) -> int:
        """Return the number of forecast steps."""
        return batch[1].numel()

    def evaluate(self, model: nn.Module, device: torch.device, limit: int | None = None) -> list[Score]:
        """Return the errors over the validation part, or over about `limit` of its tokens.

        Without a limit, return those over the test part too, with those of repeating the last value and of ridge
        regression.
        """
        scores = self._judge(model, device, "valid", limit)
        return scores if limit is not None else [*scores, *self._judge(model, device, "test", None), *self.baselines()]

    def evaluate_test(self, model: nn.Module, device: torch.device) -> list[Score]:
        """Return the model's own scores on the test part."""
        return self._judge(model, device, "test", None)

    def baselines(self) -> Iterator[Score]:
        """Yield the errors of untrained forecasts on the test part. "ridge-cycle" uses the model's cycle."""
        look_back, count = self.settings.look_back, self.plain["test"].shape[0] * self.plain["test"].shape[2]
        plain = ridge(self.plain["train"], look_back)
        asked = [("repeat-last", repeat_last(self.settings.horizon), self.plain), ("ridge", linear(plain), self.plain)]
        if self.settings.cycle > 1:
            asked.append(("ridge-cycle", linear(self.ridge), self.windows))
        for name, forecast, windows in asked:
            yield from _scores(errors(forecast, windows["test"], look_back), count, "test", name)

    def inputs(self, tokens: int) -> Tensor:
        """Return the first pasts of the first channel of the validation part, `[batch, look_back]`."""
        return self._cut(self.windows["valid"][: max(1, tokens // self.tokens), :, 0])[0]

    def _windows(self, series: Series) -> dict[Part, np.ndarray]:
        return {part: series.windows(part, self.settings.look_back, self.settings.horizon) for part in PARTS}

    def _judge(self, model: nn.Module, device: torch.device, part: Part, limit: int | None) -> list[Score]:
        totals, count = torch.zeros(3, dtype=torch.float64), 0
        for batch in self._all(part, limit):
            past, future = (x.to(device) for x in batch)
            forecast = precise(model(past))
            found = (LOSSES[name](forecast, future, reduction="sum") for name in (self.settings.loss, "mse", "mae"))
            totals += torch.stack(tuple(found)).double().cpu()
            count += len(past)
        loss, mse, mae = (totals / (count * self.settings.horizon)).tolist()
        return [Score(self.settings.LOSS, loss, count, part), *_scores(Errors(mse, mae), count, part, None)]

    def _all(self, part: Part, limit: int | None) -> Iterator[Batch]:
        """Yield every window of every channel of a part, or evenly spaced windows with about `limit` tokens."""
        windows = self.windows[part]
        wanted = len(windows) if limit is None else max(1, limit // (self.tokens * windows.shape[2]))
        for channel in np.moveaxis(windows[:: -(-len(windows) // wanted)], 2, 0):
            for begin in range(0, len(channel), JUDGED):
                yield self._cut(channel[begin : begin + JUDGED])

    def _cut(self, windows: np.ndarray) -> Batch:
        """Split windows `[windows, look_back + horizon]` into past and future."""
        past, future = np.split(windows, [self.settings.look_back], axis=1)
        return torch.from_numpy(past.copy()), torch.from_numpy(future.copy())


def _scores(found: Errors, count: int, part: Part, baseline: str | None) -> Iterator[Score]:
    yield Score(MSE, found.mse, count, part, baseline=baseline)
    yield Score(MAE, found.mae, count, part, baseline=baseline)

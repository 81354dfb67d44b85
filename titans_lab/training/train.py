"""Train a run: the optimiser, the schedule, the steps, and a line of metrics every `log.every` steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import takewhile
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import nn

from titans.models.backbone import Backbone
from titans.models.language_model import has_writes, writes_off
from titans_lab.data.parts import Part
from titans_lab.run.config import RunConfig
from titans_lab.run.derived import costs
from titans_lab.store.recorder import Recorder
from titans_lab.tasks.task import Score, Task, judging, overall
from titans_lab.training.checkpoint import Checkpoints, State
from titans_lab.training.log_interval import LogInterval
from titans_lab.training.memory_diagnostics import memory_rows
from titans_lab.training.microbatch import InParts
from titans_lab.training.noise_scale import noise_of
from titans_lab.training.optimiser import learning_rate
from titans_lab.training.plateau import Plateau
from titans_lab.training.precision import products_in
from titans_lab.training.ranks import Ranks
from titans_lab.training.replica import ALONE, Replica
from titans_lab.training.speed import product_rate, profiled
from titans_lab.training.weights import Beginning


class Diverged(Exception):
    """The loss is not finite.

    `step` is the first such step, or the last one if the final evaluation gives such a loss.
    """

    def __init__(self, step: int, what: str = "loss") -> None:
        super().__init__(f"the {what} of step {step} is not finite")
        self.step = step


class Stopped(Exception):
    """The run was asked to stop, with the state to commit and the reason. A checkpoint is written after `step`."""

    def __init__(self, state: str, why: str, step: int) -> None:
        super().__init__(why)
        self.state, self.step = state, step


class Trainer:
    """The training of one run: its steps, its metrics and its final figures.

    It resumes from the checkpoint of an earlier attempt at the run, if there is one, and reaches the same numbers.
    Other ranks, if any, follow it: see `titans_lab.training.ranks`. Their model is evaluated on the first rank alone,
    so that an evaluation computes the same on any number of devices and needs nothing of the tasks.
    """

    def __init__(
        self,
        config: RunConfig,
        seed: int,
        task: Task,
        device: torch.device,
        recorder: Recorder,
        ranks: Ranks = ALONE,
        beginning: Beginning | None = None,
    ) -> None:
        self.config, self.task, self.device, self.recorder, self.ranks = config, task, device, recorder, ranks
        self.replica = Replica(config, seed, task, device, ranks, beginning)
        self.replica.micro_batches.halved = self._halved
        self.product_rate = ranks.size * product_rate(device, config.train.precision)
        self.flops_per_token = costs(config)["flops_per_token"]
        self.checkpoints = Checkpoints(recorder, config.log.checkpoint_seconds)
        self._whole: Backbone | None = None  # an averaged or sharded model after the last step
        self.interval, self.plateau = LogInterval(), Plateau()
        self.rates: list[float] = []  # tokens per second, a value per line of metrics
        self.last_loss = math.nan
        self.peak = 0  # peak memory of earlier attempts, bytes
        self.stepped: Callable[[], None] = lambda: None
        self.should_stop: Callable[[], tuple[str, str] | None] = lambda: None  # the state to end in, and why
        self.begin = perf_counter()

    @property
    def step(self) -> int:
        """Return the number of steps taken so far."""
        return self.replica.step

    @property
    def model(self) -> Backbone:
        """Return the model after the last step: the averaged one with `train.ema`, with all its parameters."""
        if not self.ranks.sharded and not self.replica.average:
            return self.replica.model
        self._whole = self._whole or self.replica.whole_model()
        return self._whole

    def run(self) -> dict[str, Any]:
        """Train to the end of the budget, and return the run's summary.

        Raises:
            Diverged: A loss is not finite.
            Stopped: `should_stop`, which is called after every step and during evaluations, returned a state.
        """
        self.begin = perf_counter()
        saved = self.checkpoints.resume(self.load_state)
        self.ranks.agree(str(saved.path) if saved else None)
        self.replica.join()
        with profiled(self.config.speed.profile, self.recorder.attempt.path) as self.stepped:
            while not self._rest():
                self._step()
        scores = self._evaluate()
        valid, test = (self._figures(scores, part) for part in ("valid", "test"))
        if not math.isfinite(test["loss"]):
            raise Diverged(self.step, "test loss")
        self.recorder.add("evals", (score.row(self.config.task.name) for score in scores))
        found = test | {f"valid_{name}": value for name, value in valid.items()} | self._without_writes()
        return self.summary(self.step) | found

    def state(self) -> State:
        """Return everything that decides the further training, and what the summary needs of the steps so far."""
        return {
            **self.replica.state(),
            "plateau": asdict(self.plateau),
            "interval": self.interval.paused(),
            "rates": self.rates,
            "last_loss": self.last_loss,
            "peak": self._peak(),
            "elapsed": perf_counter() - self.begin,
            "init_weights": self._init_weights,
        }

    def load_state(self, state: State) -> None:
        """Resume from a state. If that fails, training begins as if nothing had been loaded."""
        if state.get("init_weights") != self._init_weights:
            raise ValueError("it began with other weights than its parent has now")
        self.replica.load_state(state)
        try:
            self.interval, self.plateau = LogInterval(**state["interval"]), Plateau(**state.get("plateau", {}))
        except Exception:
            self.replica.start()
            raise
        self.rates, self.last_loss = state["rates"], state["last_loss"]
        self.peak = state["peak"]
        self.begin = perf_counter() - state["elapsed"]

    def summary(self, steps: int) -> dict[str, Any]:
        """Return the run's figures after `steps` steps."""
        rates = self.rates[1:] or self.rates  # the first line includes the warm-up of every library
        rate = median(rates) if rates else None
        return {
            "train_loss": self.last_loss if self.rates or math.isfinite(self.last_loss) else None,  # None: no line yet
            "steps": steps,
            "tokens": self._tokens(steps),
            "tokens_per_second": rate,
            "utilisation": rate and self._utilisation(rate),
            "wall_seconds": perf_counter() - self.begin,
            "peak_memory_bytes": self._peak(),
        }

    @property
    def _init_weights(self) -> str | None:
        """Return the digest of the weights that the run began with, or None where its seed drew the initial values."""
        return self.replica.beginning.digest if self.replica.beginning else None

    def _rest(self) -> bool:
        """Log, evaluate and save what is due between two steps, and return whether training is over."""
        if self.interval and self._ends_interval():
            self._end_interval()
        self._stop_if_asked()
        if self.checkpoints.due(self.step):
            self._save()
        patience = self.config.train.patience
        return self.step == self.config.train.steps or (patience is not None and self.plateau.since >= patience)

    def _ends_interval(self) -> bool:
        """Return whether a line of metrics is due.

        A line is due every `log.every` steps, with validations and memory diagnostics, and at the end.
        """
        log, step = self.config.log, self.step
        often = (log.every, log.valid_every, log.memory_every, self._patience_every)
        return step == self.config.train.steps or any(every and step % every == 0 for every in often)

    def _end_interval(self) -> None:
        """Read the losses from the device and log a line, which ends at the first loss that is not finite."""
        seconds, figures = self.interval.seconds(), self.interval.figures()
        sound = list(takewhile(math.isfinite, (step[0] for step in figures)))
        kept = figures[: len(sound) + 1]
        step = self.step - len(figures) + len(kept)
        self.last_loss = sum(figure[0] for figure in kept) / len(kept)
        self._log(step, kept, seconds / len(figures))
        if len(sound) < len(figures):
            raise Diverged(step)
        self._record_memory(step)
        self.interval = LogInterval()

    def _stop_if_asked(self) -> None:
        if asked := self.should_stop():
            self._save()
            raise Stopped(*asked, self.step)

    def _save(self) -> None:
        self.checkpoints.save(self.step, self.state())
        self.interval.go_on()

    def _halved(self, size: int) -> None:
        retries = self.recorder.env.get("oom_retries", 0) + 1
        self.recorder.note({"micro_batch": size, "oom_retries": retries, "deterministic": False})

    @property
    def _patience_every(self) -> int:
        """Return the steps between two checks for a plateau, or 0 without any."""
        train = self.config.train
        return 0 if train.patience is None else train.patience_every

    def _validation(self, step: int) -> dict[str, float]:
        """Return the loss and the score on a part of the validation data, where a line after a step has them."""
        log = self.config.log
        if not math.isfinite(self.last_loss):
            return {}
        checked = self._checked(step)
        if not log.valid_every:
            return checked
        if step % log.valid_every:
            return {}
        same = checked and log.valid_bytes == self.config.train.patience_bytes
        return checked if same else self._figures(self._evaluate(log.valid_bytes), "valid")

    def _checked(self, step: int) -> dict[str, float]:
        """Check for a plateau where that is due after a step, and return the loss and the score that were found."""
        train = self.config.train
        if not self._patience_every or step % self._patience_every:
            return {}
        found = self._figures(self._evaluate(train.patience_bytes), "valid")
        self.plateau.check(step, found["loss"], train.patience_delta)
        return found

    def _log(self, step: int, figures: Sequence[tuple[float, ...]], step_seconds: float) -> None:
        """Log a line after a step.

        Args:
            step: The number of steps taken.
            figures: The figures of the line's steps.
            step_seconds: The mean seconds of a step.
        """
        partial = self._validation(step)
        self.rates.append(self._tokens(1) / step_seconds)  # not earlier: the evaluation may raise Stopped
        self.recorder.log(
            step=step,
            tokens=self._tokens(step),
            loss=self.last_loss,
            valid_loss=partial.get("loss"),
            valid_score=partial.get("score"),
            lr=learning_rate(self.config.train, step - 1, self.replica.before),
            grad_norm=figures[-1][1],
            tokens_per_second=self.rates[-1],
            utilisation=self._utilisation(self.rates[-1]),
            step_seconds=step_seconds,
            elapsed_seconds=perf_counter() - self.begin,
            peak_memory_bytes=self._peak(),
            **noise_of(figures),
        )

    def _record_memory(self, step: int) -> None:
        """Record the memory diagnostics where they are due."""
        log = self.config.log
        if not log.memory_every or (step % log.memory_every and step < self.config.train.steps):
            return
        at: dict[str, float | None] = {"step": step, "tokens": self._tokens(step)}
        with products_in(self.config.train.precision, self.device):
            window = self.task.inputs(log.memory_tokens).to(self.device)
            self.recorder.add("memory", [at | row for row in memory_rows(self.model, window)])

    def _utilisation(self, tokens_per_second: float) -> float:
        """Return the share of a plain matrix product's FLOP/s, without counting recomputation."""
        return self.flops_per_token * tokens_per_second / self.product_rate

    def _peak(self) -> int:
        return max(self.peak, self.replica.peak())

    def _tokens(self, steps: int) -> int:
        return steps * self.config.train.step_tokens

    def _step(self) -> None:
        """Take the next step. Its loss and gradient norm stay on the device."""
        self._whole = None
        self.interval.add(*self.replica.take_step())
        self.stepped()

    def _evaluate(self, limit: int | None = None) -> list[Score]:
        return self._judged(lambda model: self.task.evaluate(model, self.device, limit))

    def _judged(self, evaluate: Callable[[nn.Module], list[Score]]) -> list[Score]:
        """Return what an evaluation finds, with the model in evaluation mode and read in micro-batches."""
        model, micro_batches = self.model, self.replica.micro_batches
        parts = InParts(model, micro_batches.of, self._stop_if_asked)
        with products_in(self.config.train.precision, self.device), judging(model):
            return micro_batches.within_memory(lambda: evaluate(parts))

    def _without_writes(self) -> dict[str, float]:
        """Return loss and score on the test part with all writes off, or nothing where no mixer writes to a state."""
        if not has_writes(self.model):
            return {}
        with writes_off(self.model):
            scores = self._judged(lambda model: self.task.evaluate_test(model, self.device))
        return {f"{name}_writes_off": value for name, value in self._figures(scores, "test").items()}

    def _figures(self, scores: list[Score], part: Part) -> dict[str, float]:
        """Return the loss and the score over all that was evaluated of a part."""
        found, settings = overall(scores, part), self.task.settings
        return {"loss": found[settings.LOSS.name], "score": found[settings.METRIC.name]}

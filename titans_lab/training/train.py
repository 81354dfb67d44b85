"""Training: the optimiser, the schedule, the steps, and a line of metrics every so often."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import takewhile
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from titans.models.language_model import use_kernel
from titans_lab.store.recorder import Recorder
from titans_lab.study.config import RunConfig
from titans_lab.study.derived import costs, kernel
from titans_lab.tasks.task import Batch, Score, Task, judging, overall
from titans_lab.training.checkpoint import Checkpoints, State
from titans_lab.training.memory_diagnostics import memory_rows
from titans_lab.training.microbatch import InParts, MicroBatches
from titans_lab.training.optimiser import learning_rate, optimizer_for
from titans_lab.training.precision import products_in
from titans_lab.training.speed import peak_bytes, product_rate, profiled
from titans_lab.training.stretch import Stretch


class Diverged(Exception):
    """The loss is no longer a number; `step` is the first step with or, at the end of training, before such a loss."""

    def __init__(self, step: int, what: str = "loss") -> None:
        super().__init__(f"the {what} of step {step} is not finite")
        self.step = step


class Stopped(Exception):
    """Somebody asked for an end: the state to commit and why; a checkpoint is written behind the last `step` taken."""

    def __init__(self, state: str, why: str, step: int) -> None:
        super().__init__(why)
        self.state, self.step = state, step


class Trainer:
    """One run's training: the steps, a line of metrics every so often, and the figures it ends with.

    Where an earlier attempt at the run has left a checkpoint, it goes on from there, to the same numbers.
    """

    def __init__(self, config: RunConfig, seed: int, task: Task, device: torch.device, recorder: Recorder) -> None:
        self.config, self.task, self.device, self.recorder = config, task, device, recorder
        self.seed = seed
        self._start()
        self.product_rate = product_rate(device, config.train.precision)
        self.flops_per_token = costs(config)["flops_per_token"]
        batch = config.train.batch_size
        self.micro_batches = MicroBatches(batch, config.speed.micro_batch or batch, self._halved)
        self.checkpoints = Checkpoints(recorder, config.log.checkpoint_seconds)
        self.step = 0  # those taken
        self.stretch = Stretch()
        self.rates: list[float] = []  # tokens a second, a value for each line of metrics
        self.last_loss = math.nan
        self.peak = 0  # bytes, of earlier attempts
        self.stepped: Callable[[], None] = lambda: None
        self.should_stop: Callable[[], tuple[str, str] | None] = lambda: None  # the state to end in, and why
        self.begin = perf_counter()

    def run(self) -> dict[str, Any]:
        """Train to the end of the budget; the run's summary.

        Raises:
            Diverged: A loss is not finite.
            Stopped: `should_stop`, which is asked after every step and while the model is evaluated, named a state.
        """
        self.begin = perf_counter()
        self.checkpoints.resume(self.load_state)
        with profiled(self.config.speed.profile, self.recorder.attempt.path) as self.stepped:
            while not self._rest():
                self._step()
        scores = self._evaluate()
        figures = self._figures(scores)
        if not math.isfinite(figures["loss"]):
            raise Diverged(self.step, "validation loss")
        self.recorder.add("evals", (score.row(self.config.task.name) for score in scores))
        return self.summary(self.step) | figures

    def state(self) -> State:
        """All that decides what comes, and what the summary needs of what was."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stretch": self.stretch.paused(),
            "rates": self.rates,
            "last_loss": self.last_loss,
            "peak": self._peak(),
            "elapsed": perf_counter() - self.begin,
        }

    def load_state(self, state: State) -> None:
        """Go on from what `state` gave. Where that does not fit, training begins as if nothing had been loaded."""
        try:
            if state["step"] > self.config.train.steps:
                raise ValueError(f"step {state['step']} of {self.config.train.steps}")
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.stretch = Stretch(**state["stretch"])
        except Exception:
            self._start()
            raise
        self.step, self.rates, self.last_loss = state["step"], state["rates"], state["last_loss"]
        self.peak = state["peak"]
        self.begin = perf_counter() - state["elapsed"]

    def summary(self, steps: int) -> dict[str, Any]:
        """What is known after so many steps."""
        rates = self.rates[1:] or self.rates  # the first line pays for the warm-up of every library
        rate = median(rates) if rates else None
        return {
            "train_loss": self.last_loss if self.rates or math.isfinite(self.last_loss) else None,  # no line so far
            "steps": steps,
            "tokens": self._tokens(steps),
            "tokens_per_second": rate,
            "utilisation": rate and self._utilisation(rate),
            "wall_seconds": perf_counter() - self.begin,
            "peak_memory_bytes": self._peak(),
        }

    def _start(self) -> None:
        """Make the model and the optimiser that training begins with."""
        self.model = self.task.model(self.config, self.seed).to(self.device)
        self.model.recompute = self.config.speed.recompute
        use_kernel(self.model, kernel(self.config, self.device.type))
        self.optimizer = optimizer_for(self.model, self.config.train)

    def _rest(self) -> bool:
        """What there is to do between two steps; whether the last one is taken."""
        if self.stretch and self._ends_stretch():
            self._end_stretch()
        self._stop_if_asked()
        if self.checkpoints.due(self.step):
            self._save()
        return self.step == self.config.train.steps

    def _ends_stretch(self) -> bool:
        """Whether a line of metrics is due: every so many steps, at each validation or look inside, and at the end."""
        log, step = self.config.log, self.step
        often = (log.every, log.valid_every, log.memory_every)
        return step == self.config.train.steps or any(every and step % every == 0 for every in often)

    def _end_stretch(self) -> None:
        """Look at the losses once, and log a line, which ends at the first that is not finite."""
        seconds, figures = self.stretch.seconds(), self.stretch.figures()
        sound = list(takewhile(math.isfinite, (loss for loss, _ in figures)))
        kept = figures[: len(sound) + 1]
        step = self.step - len(figures) + len(kept)
        self.last_loss = sum(loss for loss, _ in kept) / len(kept)
        self._log(step, kept[-1][1], seconds / len(figures))
        if len(sound) < len(figures):
            raise Diverged(step)
        self._look_inside(step)
        self.stretch = Stretch()

    def _stop_if_asked(self) -> None:
        if asked := self.should_stop():
            self._save()
            raise Stopped(*asked, self.step)

    def _save(self) -> None:
        self.checkpoints.save(self.step, self.state())
        self.stretch.go_on()

    def _halved(self, size: int) -> None:
        retries = self.recorder.env.get("oom_retries", 0) + 1
        self.recorder.note({"micro_batch": size, "oom_retries": retries, "deterministic": False})

    def _log(self, step: int, norm: float, step_seconds: float) -> None:
        every = self.config.log.valid_every
        wanted = every and step % every == 0 and math.isfinite(self.last_loss)
        partial = self._figures(self._evaluate(self.config.log.valid_bytes)) if wanted else {}
        self.rates.append(self._tokens(1) / step_seconds)  # not before: the evaluation may end in Stopped
        self.recorder.log(
            step=step,
            tokens=self._tokens(step),
            loss=self.last_loss,
            valid_loss=partial.get("loss"),
            valid_score=partial.get("score"),
            lr=learning_rate(self.config.train, step - 1),
            grad_norm=norm,
            tokens_per_second=self.rates[-1],
            utilisation=self._utilisation(self.rates[-1]),
            step_seconds=step_seconds,
            elapsed_seconds=perf_counter() - self.begin,
            peak_memory_bytes=self._peak(),
        )

    def _look_inside(self, step: int) -> None:
        """Record what goes on in the memories, where it is time to."""
        log = self.config.log
        if not log.memory_every or (step % log.memory_every and step < self.config.train.steps):
            return
        at: dict[str, float | None] = {"step": step, "tokens": self._tokens(step)}
        with products_in(self.config.train.precision, self.device):
            window = self.task.inputs(log.memory_tokens).to(self.device)
            self.recorder.add("memory", [at | row for row in memory_rows(self.model, window)])

    def _utilisation(self, tokens_per_second: float) -> float:
        """Share of a plain product's FLOP/s; recomputation does not count."""
        return self.flops_per_token * tokens_per_second / self.product_rate

    def _peak(self) -> int:
        return max(self.peak, peak_bytes(self.device))

    def _tokens(self, steps: int) -> int:
        return steps * self.config.train.batch_size * self.config.train.seq_len

    def _step(self) -> None:
        """Take the next one; its loss and the norm of its gradient stay on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.train, self.step)
        batch = self.task.sample(self.step)
        loss = self.micro_batches.within_memory(lambda: self.gradients(batch))
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.max_grad_norm)
        self.optimizer.step()
        self.stretch.add(loss, norm)
        self.step += 1
        self.stepped()

    def gradients(self, batch: Batch) -> Tensor:
        """Of a batch, in the parameters; its loss."""
        self.optimizer.zero_grad()
        terms, total = self.task.terms(batch), torch.zeros((), device=self.device)
        for part in self.micro_batches.of(batch):
            with products_in(self.config.train.precision, self.device):
                loss = self._losses(part).sum() / terms
            torch.autograd.backward(loss)
            total = total + loss.detach()
        return total

    def _losses(self, batch: Batch) -> Tensor:
        return self.task.losses(self.model, tuple(map(self._to_device, batch)))

    def _to_device(self, x: Tensor) -> Tensor:
        """From pinned memory a copy does not wait for the steps that are under way."""
        return (x.pin_memory() if self.device.type == "cuda" else x).to(self.device, non_blocking=True)

    def _evaluate(self, limit: int | None = None) -> list[Score]:
        model = InParts(self.model, self.micro_batches.of, self._stop_if_asked)
        with products_in(self.config.train.precision, self.device), judging(self.model):
            return self.micro_batches.within_memory(lambda: self.task.evaluate(model, self.device, limit))

    def _figures(self, scores: list[Score]) -> dict[str, float]:
        """The loss and the score over all that was evaluated."""
        found, settings = overall(scores), self.task.settings
        return {"loss": found[settings.LOSS.name], "score": found[settings.METRIC.name]}

"""Training: the optimiser, the schedule, the steps, and a line of metrics every so often."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from titans.models.language_model import use_kernel
from titans_lab.inside import rows_inside
from titans_lab.precision import products_in
from titans_lab.speed import product_rate, profiled
from titans_lab.store.recorder import Recorder
from titans_lab.study.config import RunConfig, TrainConfig
from titans_lab.study.derived import kernel
from titans_lab.study.record import costs
from titans_lab.tasks.task import Batch, Score, Task, judging, overall


class Diverged(Exception):
    """The loss is no longer a number; `step` is the first step with or, at the end of training, before such a loss."""

    def __init__(self, step: int, what: str = "loss") -> None:
        super().__init__(f"the {what} of step {step} is not finite")
        self.step = step


class Stopped(Exception):
    """Somebody asked for an end: the state to commit, why, and how many steps were taken."""

    def __init__(self, state: str, why: str, step: int) -> None:
        super().__init__(why)
        self.state, self.step = state, step


def optimizer_for(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices alone."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decayed = [p for p in model.parameters() if p.ndim >= 2 and id(p) not in tables]
    rest = [p for p in model.parameters() if p.ndim < 2 or id(p) in tables]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Rate of a step counted from 0: a linear rise, then half a cosine down to `final_lr`."""
    rise = max(1, round(config.warmup * config.steps))
    if step < rise:
        return config.lr * (step + 1) / rise
    along = (step - rise) / max(1, config.steps - rise)
    return config.lr * (config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * along)))


def peak_bytes(device: torch.device) -> int:
    """Most memory held so far: by tensors on a GPU, by the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Trainer:
    """One run's training: the steps, a line of metrics every so often, and the figures it ends with."""

    def __init__(self, config: RunConfig, seed: int, task: Task, device: torch.device, recorder: Recorder) -> None:
        self.config, self.task, self.device, self.recorder = config, task, device, recorder
        self.model = task.model(config, seed).to(device)
        self.model.recompute = config.speed.recompute
        use_kernel(self.model, kernel(config, device.type))  # type: ignore[arg-type]
        self.product_rate = product_rate(device, config.train.precision)
        self.flops_per_token = costs(config)["flops_per_token"]
        self.optimizer = optimizer_for(self.model, config.train)
        self.rates: list[float] = []  # tokens a second, a value for each line of metrics
        self.last_loss = math.nan
        self.stepped: Callable[[], None] = lambda: None
        self.should_stop: Callable[[], tuple[str, str] | None] = lambda: None  # asked after each step
        self.begin = perf_counter()

    def run(self) -> dict[str, Any]:
        """Train to the end of the budget; the run's summary. Raises Diverged, Stopped."""
        self.begin = perf_counter()
        with profiled(self.config.speed.profile, self.recorder.attempt.path) as self.stepped:
            for first, last in self._stretches():
                self._stretch(first, last)
        steps, scores = self.config.train.steps, self._evaluate()
        figures = self._figures(scores)
        if not math.isfinite(figures["loss"]):
            raise Diverged(steps, "validation loss")
        self.recorder.add("evals", (score.row(self.config.task.name) for score in scores))
        return self.summary(steps) | figures

    def summary(self, steps: int) -> dict[str, Any]:
        """What is known after so many steps."""
        rates = self.rates[1:] or self.rates  # the first line pays for the warm-up of every library
        rate = median(rates) if rates else None
        return {
            "train_loss": self.last_loss,
            "steps": steps,
            "tokens": self._tokens(steps),
            "tokens_per_second": rate,
            "utilisation": rate and self._utilisation(rate),
            "wall_seconds": perf_counter() - self.begin,
            "peak_memory_bytes": peak_bytes(self.device),
        }

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """First and last step + 1 of each line of metrics: every so many steps, at each validation or look inside."""
        log, steps = self.config.log, self.config.train.steps
        ends = {steps}
        for every in filter(None, (log.every, log.valid_every, log.inside_every)):
            ends |= set(range(every, steps, every))
        return pairwise([0, *sorted(ends)])

    def _stretch(self, first: int, last: int) -> None:
        """Take the steps, look at their losses once, and log a line, which ends at the first that is not finite."""
        since = perf_counter()
        losses, norms = zip(*(self._step(step) for step in range(first, last)), strict=True)
        values = torch.stack(losses).tolist()  # waits for the device
        seconds = (perf_counter() - since) / len(values)
        wrong = next((place for place, value in enumerate(values) if not math.isfinite(value)), None)
        kept = values if wrong is None else values[: wrong + 1]
        self.last_loss = sum(kept) / len(kept)
        self.rates.append(self._tokens(1) / seconds)
        self._log(first + len(kept), float(norms[len(kept) - 1]), seconds)
        if wrong is not None:
            raise Diverged(first + len(kept))
        self._look_inside(last)

    def _log(self, step: int, norm: float, step_seconds: float) -> None:
        every = self.config.log.valid_every
        wanted = every and step % every == 0 and math.isfinite(self.last_loss)
        partial = self._figures(self._evaluate(self.config.log.valid_bytes)) if wanted else {}
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
            peak_memory_bytes=peak_bytes(self.device),
        )

    def _look_inside(self, step: int) -> None:
        """Record what goes on in the memories, where it is time to."""
        log = self.config.log
        if not log.inside_every or (step % log.inside_every and step < self.config.train.steps):
            return
        at: dict[str, float | None] = {"step": step, "tokens": self._tokens(step)}
        with products_in(self.config.train.precision, self.device):
            window = self.task.inputs(log.inside_tokens).to(self.device)
            self.recorder.add("inside", [at | row for row in rows_inside(self.model, window)])

    def _utilisation(self, tokens_per_second: float) -> float:
        """Share of a plain product's FLOP/s; recomputation does not count."""
        return self.flops_per_token * tokens_per_second / self.product_rate

    def _tokens(self, steps: int) -> int:
        return steps * self.config.train.batch * self.config.train.length

    def _step(self, step: int) -> tuple[Tensor, Tensor]:
        """The loss and the norm of its gradient, still on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.train, step)
        batch = self.task.sample(step)
        with products_in(self.config.train.precision, self.device):
            loss = self._losses(batch).sum() / self.task.terms(batch)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip)
        self.optimizer.step()
        self.stepped()
        if asked := self.should_stop():
            raise Stopped(*asked, step + 1)
        return loss.detach(), norm

    def _losses(self, batch: Batch) -> Tensor:
        return self.task.losses(self.model, tuple(map(self._to_device, batch)))

    def _to_device(self, x: Tensor) -> Tensor:
        """From pinned memory a copy does not wait for the steps that are under way."""
        return (x.pin_memory() if self.device.type == "cuda" else x).to(self.device, non_blocking=True)

    def _evaluate(self, limit: int | None = None) -> list[Score]:
        with products_in(self.config.train.precision, self.device), judging(self.model):
            return self.task.evaluate(self.model, self.device, limit)

    def _figures(self, scores: list[Score]) -> dict[str, float]:
        """The loss and the score over all that was evaluated."""
        found, settings = overall(scores), self.task.settings
        return {"loss": found[settings.LOSS.name], "score": found[settings.METRIC.name]}

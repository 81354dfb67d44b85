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

from titans.cost import train_flops_per_token
from titans.models.language_model import LanguageModel, use_kernel
from titans_lab.corpus import Corpus
from titans_lab.inside import rows_inside
from titans_lab.precision import products_in
from titans_lab.speed import product_rate, profiled
from titans_lab.store.recorder import Recorder
from titans_lab.study.config import RunConfig, TrainConfig
from titans_lab.tasks.text import TextTask, bits_per_byte, evaluate


class Diverged(Exception):
    """The loss is no longer a number; `step` is the first step with or, at the end of training, before such a loss."""

    def __init__(self, step: int, what: str = "loss") -> None:
        super().__init__(f"the {what} of step {step} is not finite")
        self.step = step


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

    def __init__(self, config: RunConfig, seed: int, corpus: Corpus, device: torch.device, recorder: Recorder) -> None:
        self.config, self.device, self.recorder = config, device, recorder
        self.task = TextTask(corpus, seed, config.train.length, config.train.batch)
        self.model = LanguageModel(config.model, seed).to(device)
        self.model.blocks.recompute = config.speed.recompute
        use_kernel(self.model, config.speed.kernel)
        self.product_rate = product_rate(device, config.train.precision)
        self.flops_per_token = train_flops_per_token(config.model, config.train.length, config.train.batch)
        self.optimizer = optimizer_for(self.model, config.train)
        self.rates: list[float] = []  # tokens a second, a value for each line of metrics
        self.last_loss = math.nan
        self.stepped: Callable[[], None] = lambda: None
        self.begin = perf_counter()

    def run(self) -> dict[str, Any]:
        """Train to the end of the budget; the run's summary. Raises Diverged."""
        self.begin = perf_counter()
        with profiled(self.config.speed.profile, self.recorder.attempt.path) as self.stepped:
            for first, last in self._stretches():
                self._stretch(first, last)
        steps, loss = self.config.train.steps, self._validate()
        if not math.isfinite(loss):
            raise Diverged(steps, "validation loss")
        return self.summary(steps) | {"loss": loss}

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
        self.recorder.log(
            step=step,
            tokens=self._tokens(step),
            loss=self.last_loss,
            valid_loss=self._validate(self.config.log.valid_bytes) if wanted else None,
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
        window, _ = next(self.task.validation(log.inside_tokens + 1))
        at = {"step": step, "tokens": self._tokens(step)}
        with products_in(self.config.train.precision, self.device):
            self.recorder.add("inside", [at | row for row in rows_inside(self.model, window.to(self.device))])

    def _utilisation(self, tokens_per_second: float) -> float:
        """Share of a plain product's FLOP/s; recomputation does not count."""
        return self.flops_per_token * tokens_per_second / self.product_rate

    def _tokens(self, steps: int) -> int:
        return steps * self.config.train.batch * self.config.train.length

    def _step(self, step: int) -> tuple[Tensor, Tensor]:
        """Loss in bits per byte and norm of the gradient, still on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.train, step)
        inputs, targets = (x.to(self.device, non_blocking=True) for x in self.task.sample(step))
        with products_in(self.config.train.precision, self.device):
            loss = bits_per_byte(self.model, inputs, targets)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip)
        self.optimizer.step()
        self.stepped()
        return loss.detach(), norm

    def _validate(self, limit: int | None = None) -> float:
        with products_in(self.config.train.precision, self.device):
            return evaluate(self.model, self.task, self.device, limit)

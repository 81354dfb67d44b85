"""The model and the optimizer of a training on one device, and its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from titans.models.backbone import Backbone
from titans.models.language_model import use_kernel
from titans_lab.errors import UserError
from titans_lab.run.config import RunConfig
from titans_lab.tasks.task import Batch, Task
from titans_lab.training.average import WeightAverage
from titans_lab.training.microbatch import MicroBatches
from titans_lab.training.noise_scale import estimates, gradient_norm
from titans_lab.training.optimiser import learning_rate, optimizer_for
from titans_lab.training.precision import products_in
from titans_lab.training.ranks import Instruction, Ranks
from titans_lab.training.speed import peak_bytes
from titans_lab.training.weights import Beginning

ALONE = Ranks()


class Losses(nn.Module):
    """The training loss of each example, as a module: its forward pass is what ranks do together."""

    def __init__(self, task: Task, model: Backbone) -> None:
        super().__init__()
        self.task, self.model = task, model

    def forward(self, *batch: Tensor) -> Tensor:
        """Return the losses `[batch]`: see `Task.losses`."""
        return self.task.losses(self.model, batch)


class FirstPart(NamedTuple):
    """The norm of the mean gradient over the first micro-batch of a step, a scalar `[]`, and its examples."""

    norm: Tensor
    examples: int


class Replica:
    """One rank's part of a training: it computes its examples of each batch, and takes every step with the others.

    It begins with what `beginning` has, if that is given: weights, and where a training goes on, its optimizer's state,
    too, with the learning rates and the batches behind its last step.

    Attributes:
        model: The model, or this rank's shards of it.
        micro_batches: The size of micro-batches on each rank.
        step: The number of steps taken so far.
    """

    def __init__(
        self,
        config: RunConfig,
        seed: int,
        task: Task,
        device: torch.device,
        ranks: Ranks = ALONE,
        beginning: Beginning | None = None,
    ) -> None:
        self.beginning, self.before = beginning, beginning.steps if beginning else 0
        self.config, self.seed, self.task, self.device, self.ranks = config, seed, task, device, ranks
        self.lessons = {length: task.at_length(config, seed, length) for length in config.train.lengths}
        self.micro_batches = MicroBatches(config.train.batch_size, config.micro_batch)
        self._first: FirstPart | None = None  # with `log.noise_scale`
        self.start()

    def start(self) -> None:
        """Make the model and the optimizer that training begins with."""
        self.step = 0
        self.model = self._new_model()
        if self.beginning:
            self.beginning.load_into(self.model)
        self.losses = self.ranks.placed(Losses(self.task, self.model), self.model, self.device)
        self.optimizer = optimizer_for(self.model, self.config.train)
        decay = self.config.train.ema
        self.average = None if decay is None else WeightAverage(self.model, decay)
        if self.beginning and self.beginning.optimizer:
            self._go_on(self.beginning.optimizer)

    def join(self) -> None:
        """Connect with the other ranks, which have the same state."""
        self.losses = self.ranks.joined(self.losses)

    def take_step(self) -> tuple[Tensor, ...]:
        """Take the next step, and return its figures, scalars `[]` that stay on the device.

        These are its loss and gradient norm, and with `log.noise_scale` the two of `noise_scale.estimates`.
        """
        self.ranks.tell(Instruction.STEP, self.micro_batches.size)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config.train, self.step, self.before)
        batch = self.lessons[self.config.train.length(self.step)].sample(self.before + self.step)
        if self.ranks.size == 1:
            loss = self.micro_batches.within_memory(lambda: self.gradients(batch))
        else:  # the others could not repeat the step: the next attempt has a smaller micro-batch
            loss = self.gradients(batch)
        most = self.config.train.max_grad_norm
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), math.inf if most is None else most)
        self.optimizer.step()
        self.step += 1
        if self.average:
            self.average.update(self.model, self.step)
        noise = estimates(self._first.norm, norm, (self._first.examples, len(batch[0]))) if self._first else ()
        return loss, self.ranks.total_norm(norm), *noise

    def gradients(self, batch: Batch) -> Tensor:
        """Accumulate the batch's gradients over its micro-batches, and return the loss, a scalar `[]`."""
        self.optimizer.zero_grad()
        terms, total, size = self.task.terms(batch), torch.zeros((), device=self.device), self.ranks.size
        parts = list(self.micro_batches.of(self.ranks.share(batch), size))
        for number, part in enumerate(parts, 1):
            with self.ranks.accumulating(self.losses, number == len(parts)):
                with products_in(self.config.train.precision, self.device):
                    loss = self.losses(*map(self._to_device, part)).sum() / terms
                torch.autograd.backward(loss * size)  # of whose gradients the mean over ranks is the sum of the parts
            total = total + loss.detach()
            if number == 1 and self.config.log.noise_scale:
                share = self.task.terms(part) / terms
                self._first = FirstPart(gradient_norm(self.model.parameters()) / share, len(part[0]))
        return self.ranks.total(total)

    def state(self) -> dict[str, Any]:
        """Return everything that decides the further training, on the first rank."""
        self.ranks.tell(Instruction.STATE)
        state: dict[str, Any] = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.average:
            state["average"] = self.average.tensors
        return {"step": self.step, **self.ranks.whole(state)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from a state. If that fails, training begins as if nothing had been loaded."""
        try:
            if state["step"] > self.config.train.steps:
                raise ValueError(f"step {state['step']} of {self.config.train.steps}")
            self.model.load_state_dict(self._parts(state["model"]))
            self.optimizer.load_state_dict(self._own(state["optimizer"]))
            if self.average:
                self.average.load(self._parts(state["average"]))
            self.step = state["step"]
        except Exception:
            self.start()
            raise

    def whole_model(self) -> Backbone:
        """Return the model to evaluate and to keep, with all its parameters, on the first rank.

        An averaged or sharded model is a new one, with the average or the gathered parameters.
        """
        if not self.ranks.sharded and not self.average:
            return self.model
        if self.ranks.sharded:
            self.ranks.tell(Instruction.MODEL)
        averaged = self.average.tensors if self.average else {}
        parameters, averaged = self.ranks.whole((self.model.state_dict(), averaged))
        if self.ranks.rank:
            return self.model
        model = self._new_model()
        model.load_state_dict(parameters)
        model.load_state_dict(averaged, strict=False)  # last, since a tied table has two names
        return model.to(self.device)

    def peak(self) -> int:
        """Return the peak memory of all ranks together so far, in bytes."""
        self.ranks.tell(Instruction.PEAK)
        return int(self.ranks.total(torch.tensor(peak_bytes(self.device))))

    def follow(self) -> None:
        """Do what the first rank tells, until the end."""
        while True:
            asked, value = self.ranks.told()
            if asked is Instruction.STEP:
                self.micro_batches.size = value
                self.take_step()
            elif asked is Instruction.MODEL:
                self.whole_model()
            elif asked is Instruction.STATE:
                self.state()
            elif asked is Instruction.PEAK:
                self.peak()
            else:
                return

    def _new_model(self) -> Backbone:
        model = self.task.model(self.config, self.seed)
        model.recompute = self.config.speed.recompute
        use_kernel(model, self.config.speed.kernel)
        return model

    def _parts(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return this rank's part of tensors, by the names of parameters."""
        own = self.model.state_dict()
        return {name: self.ranks.part(tensor, own.get(name, tensor)) for name, tensor in tensors.items()}

    def _go_on(self, state: Mapping[str, Any]) -> None:
        """Give the optimizer the state that a training ended with. Its weight decay and betas are this run's own."""
        groups = self.optimizer.state_dict()["param_groups"]
        try:
            self._check_fits(state)
            self.optimizer.load_state_dict(deepcopy(self._own({**state, "param_groups": groups})))  # not to share them
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            raise UserError(
                f"init.weights_only: the parent's state is not of this run's optimizer ({error})"
            ) from error

    def _check_fits(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError where a tensor is no scalar and has another shape than its parameter."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for number, entry in state["state"].items():
            shape = parameters[number].shape
            for name, x in entry.items():
                if isinstance(x, Tensor) and x.ndim and x.shape != shape:
                    raise ValueError(f"{name} has the shape {list(x.shape)}, and its parameter {list(shape)}")

    def _own(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return an optimizer's state with this rank's part of each tensor."""
        if not self.ranks.sharded:
            return state
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]

        def parts(entry: dict[str, Any], p: Tensor) -> dict[str, Any]:
            return {name: self.ranks.part(x, p) if isinstance(x, Tensor) else x for name, x in entry.items()}

        return state | {"state": {number: parts(entry, parameters[number]) for number, entry in state["state"].items()}}

    def _to_device(self, x: Tensor) -> Tensor:
        """Copy a tensor `[...]` to the device. From pinned memory the copy does not wait for queued steps."""
        return (x.pin_memory() if self.device.type == "cuda" else x).to(self.device, non_blocking=True)

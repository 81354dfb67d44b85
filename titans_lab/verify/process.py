"""Run the checks in a process of their own, as a worker has one, and keep what passes in the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from titans_lab.environment import environment
from titans_lab.executors.answers import answers
from titans_lab.executors.devices import Device, one_of_each
from titans_lab.run.config import plain
from titans_lab.run.run import Run
from titans_lab.store.store import Store, writing
from titans_lab.verify.reduced import checks_of
from titans_lab.verify.subjects import Verification, VerifiedModel, facts, key, of_runs


@dataclass(frozen=True)
class CheckRow:
    """The result of a check.

    Attributes:
        device: The name of the processor or GPU.
        configuration: The values in which the model differs from the others.
        check: One of `reduced.CHECKS`.
        precision: The precision of the fast form.
        worst: The largest error, over the larger of 1 and the largest true value; NaN where a value was not finite.
        tolerance: The largest error that passes.
        ok: Whether the check passed.
        seconds: The duration, including the reference implementation if this check was the first to need it.
        seed: The seed of its random numbers.
    """

    device: str
    configuration: str
    check: str
    precision: str
    worst: float
    tolerance: float
    ok: bool
    seconds: float
    seed: int

    @classmethod
    def of(cls, subject: VerifiedModel, device: Device, seed: int, answer: dict[str, Any]) -> CheckRow:
        """Return the result that the process answers."""
        ok = answer["worst"] <= answer["tolerance"]
        return cls(device=device.hardware, configuration=subject.label, ok=ok, seed=seed, **answer)


def unverified(runs: Sequence[Run], devices: Sequence[Device], store: Store) -> list[tuple[Device, list[Verification]]]:
    """Return the verifications that are missing for runs, by kind of device, in float64 and in their precisions."""
    precisions = sorted({"float64", *(run.config.train.precision for run in runs)}, reverse=True)
    wanted = ((device, of_runs(runs, device.kind, precisions)) for device in one_of_each(devices))
    return [(device, left) for device, each in wanted if (left := missing(each, device, store))]


def missing(wanted: Sequence[Verification], device: Device, store: Store) -> list[Verification]:
    """Return the verifications that the store lacks for a device."""
    left = []
    for each in wanted:
        names = {p: key(facts(each.subject.config, p, device, each.kernel)) for p in each.precisions}
        left.append(each._replace(precisions=tuple(p for p, name in names.items() if not store.has_verified(name))))
    return [each for each in left if each.precisions]


def count_checks(wanted: Sequence[Verification]) -> int:
    """Return how many rows `verify` yields."""
    return sum(len(checks_of(each.subject.config)) * len(each.precisions) for each in wanted)


def verify(wanted: Sequence[Verification], device: Device, store: Store, seed: int) -> Iterator[CheckRow]:
    """Check models on a device and yield each result. A model whose checks all pass is noted in the store.

    Raises:
        UserError: The store cannot be written.
        EndedEarly: The process ended before its last check.
    """
    with closing(_answers(wanted, device, seed)) as given:
        for each in wanted:
            rows = []
            for answer in islice(given, count_checks([each])):
                rows.append(CheckRow.of(each.subject, device, seed, answer))
                yield rows[-1]
            with writing(store):
                _keep(each, device, store, rows)


def _keep(each: Verification, device: Device, store: Store, rows: Sequence[CheckRow]) -> None:
    """Write a record for each precision in which every check passed."""
    env = environment()
    for precision in each.precisions:
        found = [row for row in rows if row.precision == precision]
        if all(row.ok for row in found):
            about = facts(each.subject.config, precision, device, each.kernel)
            now = datetime.now(UTC).isoformat()
            record = {**about, "rows": [dataclasses.asdict(row) for row in found], "env": env, "verified": now}
            store.save_verified(key(about), record)


def _answers(wanted: Sequence[Verification], device: Device, seed: int) -> Generator[dict[str, Any]]:
    models = [[plain(each.subject.config), each.precisions, each.kernel] for each in wanted]
    arguments = ["--device", device.kind, "--seed", str(seed)]
    return answers("titans_lab.verify", arguments, models, device.environment())

"""The checks in a process of their own, as a worker has one, and what they find on its way to the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from titans_lab.environment import environment
from titans_lab.executors.answers import answers
from titans_lab.executors.devices import Device
from titans_lab.store.store import Store, writing
from titans_lab.study.config import plain
from titans_lab.verify.reduced import checks_of
from titans_lab.verify.subjects import Asked, Subject, facts, key


@dataclass(frozen=True)
class Row:
    """What a check found.

    Attributes:
        device: Name of the processor or GPU.
        configuration: What tells it from the others.
        check: One of `reduced.CHECKS`.
        precision: Of the form that is checked.
        worst: Largest error, over the larger of 1 and the largest true value; NaN where something was not finite.
        tolerance: The largest that passes.
        ok: Whether it passed.
        seconds: That it took, those of the slow form included where it was the first to need them.
        seed: Of its random numbers.
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
    def of(cls, subject: Subject, device: Device, seed: int, answer: dict[str, Any]) -> Row:
        """From what the process says."""
        ok = answer["worst"] <= answer["tolerance"]
        return cls(device=device.hardware, configuration=subject.label, ok=ok, seed=seed, **answer)


def missing(asked: Sequence[Asked], device: Device, store: Store) -> list[Asked]:
    """What of it the store does not yet know to be right on a device."""
    left = []
    for each in asked:
        names = {p: key(facts(each.subject.config, p, device, each.kernel)) for p in each.precisions}
        left.append(each._replace(precisions=tuple(p for p, name in names.items() if not store.has_verified(name))))
    return [each for each in left if each.precisions]


def count_checks(asked: Sequence[Asked]) -> int:
    """Rows that `verify` will find."""
    return sum(len(checks_of(each.subject.config)) * len(each.precisions) for each in asked)


def verify(asked: Sequence[Asked], device: Device, store: Store, seed: int, tell: Callable[[Row], None]) -> list[Row]:
    """Check all that is asked on a device; each row is told as it is found, and what has passed is kept in the store.

    Raises:
        UserError: The store cannot be written.
        EndedEarly: The process ended before its last check.
    """
    rows: list[Row] = []
    with closing(_answers(asked, device, seed)) as given:
        for each in asked:
            first = len(rows)
            for answer in islice(given, count_checks([each])):
                rows.append(Row.of(each.subject, device, seed, answer))
                tell(rows[-1])
            with writing(store):
                _keep(each, device, store, rows[first:])
    return rows


def _keep(each: Asked, device: Device, store: Store, rows: Sequence[Row]) -> None:
    """A record for each precision in which all is well."""
    env = environment()
    for precision in each.precisions:
        found = [row for row in rows if row.precision == precision]
        if all(row.ok for row in found):
            about = facts(each.subject.config, precision, device, each.kernel)
            now = datetime.now(UTC).isoformat()
            record = {**about, "rows": [dataclasses.asdict(row) for row in found], "env": env, "verified": now}
            store.save_verified(key(about), record)


def _answers(asked: Sequence[Asked], device: Device, seed: int) -> Generator[dict[str, Any]]:
    """What the process finds, check by check."""
    models = [[plain(each.subject.config), each.precisions, each.kernel] for each in asked]
    arguments = ["--device", device.kind, "--seed", str(seed)]
    return answers("titans_lab.verify", arguments, models, device.environment())

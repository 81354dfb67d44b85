"""The checks in a process of their own, as a worker has one, and what they find on its way to the store."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from titans_lab.environment import environment
from titans_lab.executors.devices import Device
from titans_lab.store.folder import Store, writing
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


def missing(subjects: Sequence[Subject], precisions: Sequence[str], device: Device, store: Store) -> list[Asked]:
    """What the store does not yet know to be right on a device."""
    asked = [
        Asked(subject, tuple(p for p in precisions if not store.has_verified(key(facts(subject.config, p, device)))))
        for subject in subjects
    ]
    return [each for each in asked if each.precisions]


def count_checks(asked: Sequence[Asked]) -> int:
    """Rows that `verify` will find."""
    return sum(len(checks_of(each.subject.config)) * len(each.precisions) for each in asked)


def verify(asked: Sequence[Asked], device: Device, store: Store, seed: int, tell: Callable[[Row], None]) -> list[Row]:
    """Check all that is asked on a device; each row is told as it is found, and what has passed is kept in the store.

    Raises:
        UserError: The store cannot be written.
        RuntimeError: The process ended before its last check.
    """
    rows: list[Row] = []
    with closing(_answers(asked, device, seed)) as answers:
        for each in asked:
            first = len(rows)
            for answer in islice(answers, count_checks([each])):
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
            about = facts(each.subject.config, precision, device)
            now = datetime.now(UTC).isoformat()
            record = {**about, "rows": [dataclasses.asdict(row) for row in found], "env": env, "verified": now}
            store.save_verified(key(about), record)


def _answers(asked: Sequence[Asked], device: Device, seed: int) -> Generator[dict[str, Any]]:
    """What the process finds, check by check; it does not outlive the iterator."""
    models = [[dataclasses.asdict(each.subject.config), each.precisions] for each in asked]
    command = [sys.executable, "-P", "-m", "titans_lab.verify", "--device", device.kind, "--seed", str(seed)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | device.environment(),
        start_new_session=True,  # Ctrl-C is for us
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with suppress(BrokenPipeError), process.stdin as question:  # it may be dead already, and has said why
            json.dump(models, question)
        yield from map(json.loads, process.stdout)
        raise RuntimeError(f"the verification ended with exit code {process.wait()} before its last check; see above")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

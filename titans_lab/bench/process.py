"""Measure a pair in a process of its own, and keep the result in the store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any

import titans
from titans.models.config import reads
from titans.models.cost import parameters, train_flops_per_token
from titans_lab.bench.pairs import PEER, Pair
from titans_lab.environment import environment, library_version
from titans_lab.executors.answers import EndedEarly, answers
from titans_lab.executors.devices import Device, cores
from titans_lab.run.config import plain
from titans_lab.run.identity import model_id
from titans_lab.store.store import Store, writing


@dataclass(frozen=True)
class Measurement:
    """The measurement of a pair: a row of the view `benches`, whose columns document meanings and units."""

    model: str
    configuration: str
    variant: str
    depth: int | None
    chunk_size: int | None
    length: int
    batch: int
    precision: str
    kernel: str
    against: str
    tokens_per_second: float
    baseline_tokens_per_second: float
    ratio: float
    ratio_low: float
    ratio_high: float
    rounds: int
    product_share: float
    parameters: int
    baseline_parameters: int
    flops_per_token: int
    peak_memory_bytes: int | None
    baseline_peak_memory_bytes: int | None
    seconds: dict[str, list[float]]
    config: dict[str, Any]

    @classmethod
    def of(cls, pair: Pair, answer: dict[str, Any]) -> Measurement:
        """Return the measurement that the process answers."""
        case, seconds = pair.case, answer["seconds"]
        flops, product_flops = _flops(pair) * case.batch * case.length, answer["product_flops"]
        rounds = zip(seconds["model"], seconds["product"], strict=True)
        return cls(
            **_facts(pair),
            **_speeds(case.batch * case.length, seconds),
            product_share=median(flops / own / (product_flops / product) for own, product in rounds),
            parameters=parameters(case.model),
            baseline_parameters=answer["baseline_parameters"],
            peak_memory_bytes=answer["peak_memory_bytes"]["model"],
            baseline_peak_memory_bytes=answer["peak_memory_bytes"]["baseline"],
            seconds=seconds,
        )


def _facts(pair: Pair) -> dict[str, Any]:
    """Return the facts about a pair that are known before the measurement."""
    model, precision, batch, length, kernel = pair.case
    read = reads(model.variant)
    return {
        "model": model_id(model),
        "configuration": pair.label,
        "variant": model.variant,
        "depth": model.memory.depth if "memory.depth" in read else None,
        "chunk_size": model.memory.chunk_size if "memory.chunk_size" in read else None,
        "length": length,
        "batch": batch,
        "precision": precision,
        "kernel": kernel,
        "against": pair.against,
        "flops_per_token": _flops(pair),
        "config": plain(model),
    }


def _flops(pair: Pair) -> int:
    return train_flops_per_token(pair.case.model, pair.case.length, pair.case.batch)


def _speeds(tokens: int, seconds: dict[str, list[float]]) -> dict[str, Any]:
    ratios = [other / own for own, other in zip(seconds["model"], seconds["baseline"], strict=True)]
    return {
        "tokens_per_second": tokens / median(seconds["model"]),
        "baseline_tokens_per_second": tokens / median(seconds["baseline"]),
        "ratio": median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "rounds": len(ratios),
    }


@dataclass(frozen=True)
class Setup:
    """The device, the kernel and the number of rounds of a bench.

    Attributes:
        device: The only device that the process sees.
        threads: The threads of torch on the CPU.
        rounds: The turns of the model and of its baseline.
    """

    device: Device
    threads: int
    rounds: int

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the process."""
        threads = str(self.threads)
        return self.device.environment() | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


def setup_on(device: Device, rounds: int, threads: int | None = None) -> Setup:
    """Return a setup on a device. A bench uses all cores of a CPU; with a GPU it has as many threads as a worker."""
    return Setup(device, threads or (len(cores()) if device.kind == "cpu" else 1), rounds)


def measured(pair: Pair, setup: Setup) -> Measurement:
    """Measure a pair. EndedEarly where its process broke, which leaves a traceback on standard error."""
    arguments = ["--device", setup.device.kind, "--rounds", str(setup.rounds)]
    with closing(answers("titans_lab.bench", arguments, _question(pair), setup.environment())) as given:
        return Measurement.of(pair, next(given))


def _question(pair: Pair) -> dict[str, Any]:
    return {
        "model": plain(pair.case.model),
        "baseline": plain(pair.baseline),
        "peer": pair.against == PEER,
        "precision": pair.case.precision,
        "kernel": pair.case.kernel,
        "shape": [pair.case.batch, pair.case.length],
    }


@dataclass
class Bench:
    """Pairs that are measured one by one. Each is in the store as soon as it is measured.

    Attributes:
        store: The store.
        setup: The device, the kernel and the number of rounds.
        rows: The measurements so far.
        failed: The pairs whose process broke.
        facts: The time, the machine and the versions.
    """

    store: Store
    setup: Setup
    rows: list[Measurement] = field(default_factory=list)
    failed: list[tuple[Pair, EndedEarly]] = field(default_factory=list)
    facts: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.facts = _begun(self.setup)

    def measure(self, pair: Pair) -> None:
        """Measure and record a pair. A pair that breaks stops no other. Raise UserError for a read-only store."""
        try:
            self.rows.append(measured(pair, self.setup))
        except EndedEarly as error:
            self.failed.append((pair, error))
            return
        rows = [dataclasses.asdict(row) for row in self.rows]
        with writing(self.store):
            self.store.save_bench(self.name, self.facts | {"rows": rows})

    @property
    def name(self) -> str:
        """Return the name of the bench in the store."""
        return self.facts["bench"]


def _begun(setup: Setup) -> dict[str, Any]:
    now = datetime.now(UTC)
    about = environment() | {
        "started": now.isoformat(),
        "device": setup.device.kind,
        "device_name": setup.device.hardware,
        "threads": setup.threads,
        "torch": library_version("torch"),
        "versions": titans.VERSIONS,
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
    return {"bench": f"{now:%Y%m%dT%H%M%SZ}-{digest}", **about}

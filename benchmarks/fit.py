"""Time the scaling fit, a report and the end of a sweep on studies of 9, 40 and 200 points.

    python benchmarks/fit.py

The runs are recorded, not trained: their losses follow a law with a noise of 1 %. A sweep's end is what
`titans-lab sweep` does when its last run has ended: it draws up the report and prints its head.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from titans_lab.cli.reports import summarise
from titans_lab.errors import UserError
from titans_lab.report.render import page, study_report
from titans_lab.run.run import Run, record_of
from titans_lab.scaling import scalings
from titans_lab.stats.scaling.law import Law
from titans_lab.store.recorder import Recorder
from titans_lab.store.store import Store
from titans_lab.study.study import Study, load_study

LAW = Law(np.log(1.1), (np.log(30.0), np.log(90.0)), (0.3, 0.35))
NOISE = 0.01
#: Points of a study, with its sizes and its budgets.
STUDIES = {9: (3, 3), 40: (8, 5), 200: (20, 10)}


def main() -> None:
    """Print a row for each study."""
    print("| points | fit, s | report, s | sweep's end, s | fit says |\n|---|---|---|---|---|")
    for points, (sizes, budgets) in STUDIES.items():
        with tempfile.TemporaryDirectory() as folder:
            study, runs = _study(Path(folder), sizes, budgets)
            root = Path(folder) / "results"
            _finish(runs, root)
            seconds, said = _fit(runs, root)
            report, end = _report(study, runs, root), _end(study, runs, root)
        print(f"| {points} | {seconds:.1f} | {report:.1f} | {end:.1f} | {said} |", flush=True)


def _study(folder: Path, sizes: int, budgets: int) -> tuple[Study, list[Run]]:
    dims = [16 * (place + 1) for place in range(sizes)]
    tokens = [int(count) for count in np.geomspace(1e5, 1e7, budgets)]
    path = folder / "fit.yaml"
    path.write_text(f"base: {{model: {{variant: lmm}}}}\ngrid: {{model.dim: {dims}, train.tokens: {tokens}}}\n")
    study = load_study(path)
    return study, study.runs(lambda data: "5e" * 32)


def _finish(runs: Sequence[Run], root: Path) -> None:
    generator = np.random.default_rng(0)
    for run in runs:
        record, tokens = record_of(run, "synthetic"), run.config.train.tokens
        folder = Store(root).run(run.run_id)
        folder.create(record)
        loss = float(LAW.loss(np.array([[record["parameters"], tokens]], float))[0])
        summary = {"loss": loss * float(np.exp(generator.normal(0, NOISE))), "tokens": tokens}
        Recorder(folder.new_attempt(), {}).commit("done", summary, None)


def _fit(runs: Sequence[Run], root: Path) -> tuple[float, str]:
    """Return the seconds of the fit, and the intervals of its exponents or that they are not identified."""
    begin = perf_counter()
    try:
        (found,) = scalings(runs, root)
    except UserError as error:
        return perf_counter() - begin, str(error).partition(" (runs:")[0]
    exponents = ((name, found.coefficients[name]) for name in ("alpha", "beta"))
    return perf_counter() - begin, ", ".join(f"{name} {each.low:.3g} to {each.high:.3g}" for name, each in exponents)


def _report(study: Study, runs: list[Run], root: Path) -> float:
    """Return the seconds of a report."""
    begin = perf_counter()
    page(study_report(study, runs, root))
    return perf_counter() - begin


def _end(study: Study, runs: list[Run], root: Path) -> float:
    """Return the seconds that a sweep takes to print its outcome."""
    begin = perf_counter()
    summarise(study, runs, root)
    return perf_counter() - begin


if __name__ == "__main__":
    main()

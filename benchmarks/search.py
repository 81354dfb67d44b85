"""Test searches with a known optimum: the sampler's results, the overhead of a trial, and the effect of kills.

    python benchmarks/search.py optimum      TPE against random search, 40 trials each, on a function with a known
    optimum python benchmarks/search.py overhead     500 trials of a task that takes no time: seconds of overhead python
    benchmarks/search.py kills        a coordinator with real workers killed 20 times at random python
    benchmarks/search.py steps FOLDER the steps that pruning saved in a store, and the best trial compared with the base

`optimum` asks and tells through the code that `titans-lab tune` uses, with no runs in between; `overhead` and `kills`
are whole searches, with records, claims and commits, the first with a function in the place of training. `steps` is for
the store of `titans-lab tune studies/tune.yaml`. Nothing here depends on the speed of training.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "helpers"))

from instant import InstantExecutor
from workbench import Workbench, workers

import titans_lab.sweep
from titans_lab.executors.devices import Device
from titans_lab.run.config import RunConfig
from titans_lab.search.coordinator import Coordinator, tunings
from titans_lab.search.proposer import Goal, Proposer
from titans_lab.search.trial import Trial
from titans_lab.store.query import query
from titans_lab.store.store import Store
from titans_lab.study.reading import Setting
from titans_lab.study.study import load_study
from titans_lab.study.terms import Chosen, Dimension, SearchTerms

SEEDS, TRIALS, MANY, KILLS = 20, 40, 500, 20
SPACE = (
    Dimension("train.lr", "float", 1e-4, 1e-1, log=True),
    Dimension("model.memory.depth", "int", 1, 4),
    Dimension("model.memory.alpha_bias", "float", -12.0, 0.0),
    Dimension("model.memory.chunk_size", "choice", choices=(8, 16, 32, 64)),
)
STUDY = """
base:
  model: {variant: lmm, dim: 16, n_layers: 1, n_heads: 2}
  train: {tokens: 100000}
search:
  space:
    train.lr: {float: [1e-4, 1e-1], log: true}
    model.memory.alpha_bias: {float: [-12, 0]}
"""
KILLED = """
search:
  space: {train.lr: {float: [1e-3, 1e-1], log: true}}
  sampler: tpe
"""


def loss(rate: float, depth: int, bias: float, chunk: int) -> float:
    """Return a bowl with its optimum, 2, at a rate of 10^-2.5, a depth of 2, a bias of -8 and a chunk of 16."""
    return (
        2
        + 0.5 * (math.log10(rate) + 2.5) ** 2
        + 0.1 * (depth - 2) ** 2
        + 0.01 * (bias + 8) ** 2
        + 0.1 * abs(math.log2(chunk / 16))
    )


def best_of(sampler: str, seed: int) -> float:
    """Return the least loss of a search."""
    terms = SearchTerms(SPACE, sampler=Chosen(sampler, {"seed": Setting(seed, "")}))
    proposer = Proposer(Goal("benchmark", terms, ("minimize",), lambda key: None))
    found = []
    for number in range(TRIALS):
        params = proposer.ask(number) or {}
        found.append(loss(*(params[dimension.key] for dimension in SPACE)))
        proposer.tell(Trial(number, "sampler", params, "done", (found[-1],)))
    return min(found)


def optimum() -> None:
    print("| seed | TPE | random |\n|---|---|---|")
    pairs = []
    for seed in range(SEEDS):
        pairs.append((best_of("tpe", seed), best_of("random", seed)))
        print(f"| {seed} | {pairs[-1][0]:.4f} | {pairs[-1][1]:.4f} |", flush=True)
    wins = sum(tpe < chance for tpe, chance in pairs)
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    print(f"\nTPE is better in {wins} of {SEEDS}; medians {medians[0]:.4f} and {medians[1]:.4f}, the optimum is 2")


def overhead(trials: int) -> None:
    """Time a search whose runs are a function, so that only Optuna, claims, records and commits take time."""

    def curve(config: RunConfig, seed: int) -> list[float | str]:
        return [loss(config.train.lr, 2, config.model.memory.alpha_bias, 16)]

    titans_lab.sweep.POLL_SECONDS = titans_lab.sweep.SHORT_SECONDS = 0.0  # no waiting, since there are no workers
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overhead.yaml"
        path.write_text(f"{STUDY}  trials: {trials}\n")
        study, store = load_study(path), Store(Path(folder) / "results")
        devices = [Device("cpu", "0", "core 0", "")]
        executor = TimedExecutor(curve)
        search = Coordinator(study, tunings(study, store, lambda _: "0" * 64), store, executor, devices)
        begin = time.perf_counter()
        search.run(lambda *_: None)
        whole = time.perf_counter() - begin
        ended = len(search.tunings[0].ended)
    print(f"{ended} trials in {whole:.1f} s, {executor.seconds:.1f} of them in the runs' claims and commits")
    print(f"{(whole - executor.seconds) / ended:.4f} s of overhead a trial, {whole / ended:.4f} with the runs' own")


class TimedExecutor(InstantExecutor):
    """Counts the time of what a worker would do."""

    seconds = 0.0

    def submit(self, folder, device):  # type: ignore[no-untyped-def]
        begin = time.perf_counter()
        job = super().submit(folder, device)
        poll = job.poll

        def timed() -> str | None:
            since = time.perf_counter()
            words = poll()
            self.seconds += time.perf_counter() - since
            return words

        job.poll = timed  # type: ignore[method-assign]
        self.seconds += time.perf_counter() - begin
        return job


def kills(times: int, trials: int) -> None:
    """Kill a search at random moments within some seconds of its start, and then let it end."""
    draw = random.Random()
    with tempfile.TemporaryDirectory() as folder:
        bench = Workbench.at(Path(folder))
        bench.study.write_text(bench.study.read_text() + KILLED + f"  trials: {trials}\n")
        command = bench.command("tune", "--no-verify", "--max-parallel", "2")
        for _ in range(times):
            coordinator = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(draw.uniform(1, 8))
            os.kill(coordinator.pid, signal.SIGKILL)
            coordinator.wait()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        [found] = bench.store.searches()
        ended = found.trials()
        names = [name for trial in ended for name in trial["runs"]]
        rows = bench.ask("select state, count(*) as n, sum(attempt) as attempts from runs group by state")
        print(f"killed {times} times: {len(ended)} trials of {trials}, {len(names) - len(set(names))} runs twice")
        print(f"states of trials: {sorted({trial['state'] for trial in ended})}; of runs: {rows}")
        print(f"workers left: {len(workers(bench.root))}")


def steps(root: Path) -> None:
    """Print the steps that the runs of a search took, as a share of their full steps."""
    sql = """select study, arm, count(*) as trials, count(*) filter (state = 'pruned') as pruned,
        1 - sum(steps) / sum(planned) as saved from trials
        where origin <> 'store' and state in ('done', 'pruned', 'stopped', 'diverged') group by all"""
    for row in query(root, sql).to_pylist():
        saved = f"{row['pruned']} pruned, {row['saved']:.0%} of steps saved"
        print(f"{row['study']} {row['arm']}: {row['trials']} trials, {saved}")
    sql = """select study, arm, number, avg(score) as mean, count(*) as seeds
        from finalists join runs using (run_id) where state = 'done' group by all
        order by study, arm, number nulls first"""
    for row in query(root, sql).to_pylist():
        name = "base" if row["number"] is None else f"trial {row['number']}"
        print(f"{row['study']} {row['arm']} {name}: {row['mean']:.4f}, mean of {row['seeds']} fresh seeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("optimum")
    verbs.add_parser("overhead").add_argument("--trials", type=int, default=MANY)
    killing = verbs.add_parser("kills")
    killing.add_argument("--times", type=int, default=KILLS)
    killing.add_argument("--trials", type=int, default=12)
    verbs.add_parser("steps").add_argument("store", type=Path)
    given = parser.parse_args()
    if given.verb == "optimum":
        optimum()
    elif given.verb == "overhead":
        overhead(given.trials)
    elif given.verb == "kills":
        kills(given.times, given.trials)
    else:
        steps(given.store)


if __name__ == "__main__":
    main()

"""Disturb sweeps with kills, signals and full disks, and check that no run is lost or recorded twice.

    python benchmarks/torture.py                        # the full test: 200 kills over 40 runs, and all other scenes
    python benchmarks/torture.py kills --runs 4 --kills 5

Scenes:

    kills      `kill -9` of coordinators, and of workers that have written a checkpoint, at random moments; the sweep is
               started again, and every later attempt at such a run has to go on from a checkpoint
    together   two coordinators on one store, of which one is suspended for a while
    hosts      the same where neither sees the processes of the other (needs the right to create a PID namespace),
               and the suspension is long enough for the other to take over
    signals    Ctrl-C and SIGTERM
    disk       a full disk (a small tmpfs: needs the right to mount)
    readonly   a store that cannot be written (needs the right to mount)

After each scene every run has to be recorded once, with the numbers of an undisturbed sweep.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from titans_lab.store.folder import Attempt
from titans_lab.store.query import query
from titans_lab.store.store import Store

STUDY = """\
question: Is every run there, once?
base:
  model: {{variant: lmm, dim: 16, n_layers: 1, n_heads: 2, persistent_tokens: 2, memory: {{depth: 1, chunk_size: 8}}}}
  train: {{tokens: {tokens}, seq_len: 32, batch_size: 2}}
  data: {{path: "{text}", valid_fraction: 0.1}}
  log: {{every: 3{log}}}
seeds: {runs}
"""
NUMBERS = {
    "runs": "select run_id, state, loss, train_loss, steps from runs order by all",
    "metrics": "select run_id, step, loss, valid_loss, lr, grad_norm from metrics order by all",
}
#: The tool with Python's default handler of SIGINT, as on a terminal, whatever this process inherited.
TOOL = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from titans_lab.cli import main; main()"
)


@dataclass(frozen=True)
class Lab:
    """A study and a store for it."""

    study: Path
    store: Path
    most: int

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", TOOL, *words, "--store", str(self.store)]

    def sweep(self) -> list[str]:
        return self.command("sweep", str(self.study), "--no-verify", "--max-parallel", str(self.most))

    def start(self, *around: str) -> subprocess.Popen[str]:
        """Return a coordinator, which `around` another command starts: that has devices of its own."""
        if around:
            Path(f"{self.store}.devices").mkdir(exist_ok=True)
        env = ENV | ({"XDG_RUNTIME_DIR": f"{self.store}.devices"} if around else {})
        command = [*around, *self.sweep()]
        return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env)

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), text=True, capture_output=True, env=ENV, check=False)

    def finish(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.sweep(), text=True, capture_output=True, env=ENV, check=False)

    def numbers(self) -> dict[str, list[dict[str, Any]]]:
        """Return all that must not depend on what happened."""
        return {name: query(self.store, sql).to_pylist() for name, sql in NUMBERS.items()}

    def states(self) -> dict[str, str]:
        return {folder.run_id: folder.state() for folder in Store(self.store).folders()}

    def with_progress(self) -> dict[int, Attempt]:
        """Return the running attempts that have written a checkpoint themselves, by the id of their worker."""
        latest = [folder.latest() for folder in Store(self.store).folders() if folder.state() == "running"]
        saved = [attempt for attempt in latest if attempt and list(attempt.path.glob("checkpoint-*.pt"))]
        return {holder.pid: attempt for attempt in saved if (holder := attempt.claim.holder()) and holder.pid}

    def workers(self) -> list[int]:
        listed = subprocess.run(["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
        lines = [
            line for line in listed.splitlines() if "titans_lab.training.serve" in line and str(self.store) in line
        ]
        return [int(line.split()[0]) for line in lines]


ENV = os.environ | {"CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Scene:
    """The common parts of all scenes.

    Attributes:
        folder: The folder for the coordinators' files.
        runs: The runs of the study.
        most: Runs at a time.
        kills: The total number of kills.
        coordinators: Share of the kills.
        spread: Seconds between two kills, at most.
        limit: Seconds that a sweep may take to end when it is asked to.
        random: Decides who is killed, and when.
        expected: The numbers of the undisturbed sweep.
    """

    folder: Path
    runs: int
    most: int
    kills: int
    coordinators: float
    spread: float
    limit: float
    random: random.Random
    expected: dict[str, list[dict[str, Any]]]

    def lab(self, name: str) -> Lab:
        return self.at(self.folder / name)

    def at(self, store: Path) -> Lab:
        return Lab(self.folder / "torture.yaml", store, self.most)


class Wrong(Exception):
    """A check of a scene has failed."""


def check(condition: object, what: str) -> None:
    if not condition:
        raise Wrong(what)


def check_numbers(scene: Scene, lab: Lab) -> None:
    """Check that every run is recorded once, with the right numbers."""
    found = lab.numbers()
    check(len(found["runs"]) == scene.runs, f"{len(found['runs'])} runs of {scene.runs}")
    for name, rows in scene.expected.items():
        check(found[name] == rows, f"{name} differ from those of an undisturbed sweep: {lab.store}")
    for folder in Store(lab.store).folders():
        results = [path for path in folder.path.rglob("status.json") if '"done"' in path.read_text()]
        check(results == [folder.status_path], f"results of {folder.run_id}: {results}")


@dataclass
class Struck:
    """The processes that were killed.

    Attributes:
        coordinators: The number of coordinators.
        workers: The attempts whose workers were killed, each after it had written a checkpoint.
    """

    coordinators: int = 0
    workers: list[Attempt] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.coordinators + len(self.workers)


def kills(scene: Scene) -> str:
    """Run rounds of a study, each in a store of its own, until there were enough kills."""
    struck = Struck()
    rounds = attempts = resumed = 0
    while struck.total < scene.kills:
        rounds += 1
        lab = scene.lab(f"kills{rounds}")
        torment(scene, lab, struck)
        check_numbers(scene, lab)
        tried = [Attempt(path) for folder in Store(lab.store).folders() for path in folder.attempts()]
        attempts += len(tried)
        resumed += sum("resumed_from" in attempt.env() for attempt in tried)
    followed = check_resumed(struck.workers)
    return (
        f"{len(struck.workers)} workers killed after a checkpoint, and {struck.coordinators} coordinators; "
        f"{rounds * scene.runs} runs in {attempts} attempts, of which {resumed} went on from a checkpoint, all "
        f"{followed} among them that followed such a kill"
    )


def check_resumed(killed: list[Attempt]) -> int:
    """Check that the attempt after each of these went on from a checkpoint, and return how many there were.

    One that was ended before it wrote where it runs has not begun: the one after it counts.
    """
    followed: set[Path] = set()
    for attempt in killed:
        later = [Attempt(path) for path in attempt.folder.attempts() if int(path.name) > attempt.number]
        begun = [each for each in later if each.env()]
        check(begun or attempt.status_path.parent == done_by(attempt), f"{attempt.path}: nobody went on with it")
        for each in begun[:1]:
            check("resumed_from" in each.env(), f"{each.path}: began anew, although there was a checkpoint")
            followed.add(each.path)
    return len(followed)


def done_by(attempt: Attempt) -> Path | None:
    """Return the folder of the attempt that finished the run of this one."""
    status = attempt.folder.status()
    return attempt.folder.attempt(status.attempt).path if status else None


def torment(scene: Scene, lab: Lab, struck: Struck) -> None:
    """Sweep to the end, and kill coordinators and workers meanwhile."""
    coordinator = lab.start()
    while coordinator.poll() is None or set(lab.states().values()) != {"done"}:
        if coordinator.poll() is not None:
            check(coordinator.returncode in (0, 3, -signal.SIGKILL), f"exit code {coordinator.returncode}")
            hang_up(coordinator)
            coordinator = lab.start()
        if struck.total >= scene.kills:
            coordinator.communicate()
            continue
        time.sleep(scene.random.uniform(0, scene.spread))
        victims = lab.with_progress()
        if not victims or coordinator.poll() is not None:
            continue
        if scene.random.random() < scene.coordinators:
            kill(coordinator.pid)
            struck.coordinators += 1
        else:
            kill(pid := scene.random.choice(sorted(victims)))
            struck.workers.append(victims[pid])
    hang_up(coordinator)


def hang_up(coordinator: subprocess.Popen[str]) -> None:
    assert coordinator.stderr is not None
    coordinator.stderr.close()


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def together(scene: Scene) -> str:
    """Run two coordinators, of which one, and then also its workers, is suspended in the middle."""
    lab = scene.lab("together")
    both = [lab.start(), lab.start()]
    until(lambda: "done" in lab.states().values(), "the first result")
    stopped = [both[0].pid, *children(both[0].pid)]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in stopped:
            kill(pid, number)
        time.sleep(3 if number == signal.SIGSTOP else 0)
    for coordinator in both:
        words = coordinator.communicate()[1]
        check(coordinator.returncode == 0, words)
    check_numbers(scene, lab)
    folders = list(Store(lab.store).folders())
    check(all(len(folder.attempts()) == 1 for folder in folders), "a run was executed twice")
    return f"2 coordinators, one stopped for 3 s with its {len(stopped) - 1} workers: each run executed once"


def hosts(scene: Scene) -> str:
    """Run two coordinators that see only each other's heartbeats; one is suspended until it counts as dead."""
    lab = scene.lab("hosts")
    here = lab.start()
    until(lambda: "done" in lab.states().values(), "the first result")
    stopped = [here.pid, *children(here.pid)]
    for pid in stopped:
        kill(pid, signal.SIGSTOP)
    held = [folder for folder in Store(lab.store).folders() if folder.state() == "running"]
    there = lab.start("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    words = there.communicate()[1]
    check(there.returncode == 0, words)
    kept = {folder.status_path: folder.status_path.read_bytes() for folder in held}
    for pid in stopped:
        kill(pid, signal.SIGCONT)
    words = here.communicate()[1]
    check(here.returncode == 0, words)
    check_numbers(scene, lab)
    check(all(path.read_bytes() == content for path, content in kept.items()), "a result was replaced")
    twice = [folder for folder in Store(lab.store).folders() if len(folder.attempts()) > 1]
    check(set(twice) <= set(held), "a run was executed twice that nobody had left")
    return (
        f"one of 2 stopped until its {len(held)} runs were taken over; {len(twice)} executed twice, none recorded twice"
    )


def signals(scene: Scene) -> str:
    """Check that a sweep that is asked to end leaves a state from which the next one continues."""
    lab, slowest = scene.lab("signals"), 0.0
    for number in (signal.SIGINT, signal.SIGTERM):
        coordinator = lab.start()
        until(lambda: "running" in lab.states().values() and lab.workers(), "a worker")
        time.sleep(scene.random.uniform(0, scene.spread))
        begin = time.monotonic()
        coordinator.send_signal(number)
        words = coordinator.communicate()[1]
        slowest = max(slowest, time.monotonic() - begin)
        if coordinator.returncode != 0:  # it had not finished before
            check(coordinator.returncode == 130, f"exit code {coordinator.returncode}: {words}")
            check("continues from here" in words, words)
        check(not lab.workers(), "a worker is left")
        check(slowest < scene.limit, f"{slowest:.1f} s to end")
    check(lab.finish().returncode == 0, "the sweep that followed")
    check_numbers(scene, lab)
    return f"Ctrl-C and SIGTERM: ended after at most {slowest:.1f} s"


def disk(scene: Scene) -> str:
    """Check a sweep whose disk is full before its end."""
    needed = sum(path.stat().st_blocks * 512 for path in (scene.folder / "undisturbed").rglob("*"))
    with mounted(scene.folder / "disk", needed * 6 // 10) as folder:
        lab = scene.at(folder / "store")
        ended = lab.finish()
        check(ended.returncode == 2, f"exit code {ended.returncode}: {ended.stderr}")
        check("No space left on device" in ended.stderr.splitlines()[-1], ended.stderr)
        check("Traceback" not in ended.stderr, ended.stderr)
        check(not lab.workers(), "a worker is left")
        before = {path: path.read_bytes() for path in lab.store.glob("runs/*/status.json")}
        mount("-o", f"remount,size={10 * needed}", str(folder))
        ended = lab.finish()
        check(ended.returncode == 0, ended.stderr)
        check_numbers(scene, lab)
        check(all(path.read_bytes() == content for path, content in before.items()), "a result was touched")
    return f"full after {len(before)} of {scene.runs} runs, all of which stayed"


def readonly(scene: Scene) -> str:
    """Check that reading works on a read-only store, and that a sweep says that it cannot write."""
    with mounted(scene.folder / "readonly", 2**27) as folder:
        lab = scene.at(folder / "store")
        shutil.copytree(scene.folder / "undisturbed", lab.store)
        (shut := next(lab.store.glob("runs/*/status.json"))).unlink()  # so that there is something to do
        mount("-o", "remount,ro", str(folder))
        study = str(lab.study)
        archive, page = str(scene.folder / "archive.tar.gz"), str(scene.folder / "report.html")
        for words in (
            ["plan", study],
            ["status", study],
            ["status"],
            ["query", "from runs"],
            ["report", study, "-o", page],
            ["export", "-o", archive],
        ):
            ended = lab.call(*words)
            check(ended.returncode == 0, f"{words[0]}: {ended.stderr}")
        check(lab.call("doctor").returncode == 3, "doctor: finds nothing")
        for words in (["report", study], ["import", archive], ["compact"], ["rm", study, "--yes"]):
            ended = lab.call(*words)
            told = "(Read-only file system); name another f" in ended.stderr and "Traceback" not in ended.stderr
            check(ended.returncode == 2 and told, f"{words[0]}: {ended.returncode}: {ended.stderr}")
        ended = lab.finish()
        check(ended.returncode == 2, f"exit code {ended.returncode}: {ended.stderr}")
        check("cannot write there (Read-only file system)" in ended.stderr, ended.stderr)
        check(not shut.exists(), "it was written")
    return "plan, status, query, report, export and doctor read; what has to write says that it cannot"


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Path]:
    """Mount a file system of `size` bytes in memory, and unmount it afterwards."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "titans-lab", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(child) for child, parent in map(str.split, listed.splitlines()) if parent == str(pid)]


def until(condition: Callable[[], object], what: str, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.05)


SCENES = {each.__name__: each for each in (kills, together, hosts, signals, disk, readonly)}


def main() -> int:
    """Run the scenes, and return the exit code: 0 if everything is as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; else all")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--max-parallel", type=int, default=2, help="runs at a time")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--coordinators", type=float, default=1 / 3, help="share of the kills that are coordinators'")
    parser.add_argument("--tokens", type=int, default=64 * 200, help="of each run: 64 a step")
    parser.add_argument("--checkpoint", type=float, default=0.2, help="seconds between checkpoints")
    parser.add_argument("--spread", type=float, default=4.0, help="seconds between two kills, at most")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds that a sweep may take to end")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="torture-") as temporary:
        folder = Path(temporary)
        ENV["XDG_RUNTIME_DIR"] = temporary  # so that the sweep does not wait for other sweeps of this machine
        text, log = folder / "text.txt", f", checkpoint_seconds: {given.checkpoint}" if given.checkpoint else ""
        text.write_bytes(b"the memory learns at test time, and forgets what it need not keep. " * 60)
        study = STUDY.format(text=text, tokens=given.tokens, runs=given.runs, log=log)
        (folder / "torture.yaml").write_text(study)
        undisturbed = Lab(folder / "torture.yaml", folder / "undisturbed", given.max_parallel)
        begin = time.monotonic()
        ended = undisturbed.finish()
        check(ended.returncode == 0, f"the undisturbed sweep: {ended.stderr}")
        print(f"undisturbed: {given.runs} runs in {time.monotonic() - begin:.0f} s", flush=True)
        scene = Scene(
            folder,
            given.runs,
            given.max_parallel,
            given.kills,
            given.coordinators,
            given.spread,
            given.limit,
            random.Random(given.seed),
            undisturbed.numbers(),
        )
        return max([play(name, scene) for name in given.scenes or SCENES])


def play(name: str, scene: Scene) -> int:
    begin = time.monotonic()
    try:
        words = SCENES[name](scene)
    except Wrong as wrong:
        print(f"{name}: WRONG: {wrong}", flush=True)
        return 1
    print(f"{name}: {words}; {time.monotonic() - begin:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

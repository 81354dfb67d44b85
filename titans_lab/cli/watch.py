"""Show a sweep while it runs: live on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from titans_lab.cli.output import STYLES
from titans_lab.cli.screens import LEAST_LABEL
from titans_lab.durations import spell_duration
from titans_lab.progress import Progress, RunProgress
from titans_lab.quantities import count
from titans_lab.tables import harmless, shortened

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from titans_lab.run.run import Run
    from titans_lab.sweep import Sweep

PLAIN_SECONDS = 30.0  # between two lines about a run
SHOWN = 16  # runs in the live display

Look = Callable[["Sweep"], None]


@contextmanager
def watching(runs: list[Run]) -> Iterator[Look]:
    """Return what to call after each turn of a sweep over `runs`. It writes to standard error."""
    progress = Progress(runs)
    if not sys.stderr.isatty():
        yield Lines(progress, lambda line, _: print(line, file=sys.stderr, flush=True), PLAIN_SECONDS).look
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True, highlight=False)
    lines = Lines(progress, lambda line, style: console.print(line, style=style, markup=False), None, console.width)
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def look(sweep: Sweep) -> None:
            lines.look(sweep)
            live.update(picture(progress, sweep, console), refresh=True)

        yield look


class Lines:
    """Writes a line for each run that starts or ends and, `every` so many seconds, for each running run.

    In a terminal of so many `columns`, the names of runs are cut so that a line fits.
    """

    def __init__(
        self, progress: Progress, write: Callable[[str, str], None], every: float | None, columns: int | None = None
    ) -> None:
        self.progress, self.write, self.every, self.columns = progress, write, every, columns
        self.labels = progress.labels
        self.started: set[str] = set()
        self.ended: set[str] = set()
        self.waits = False
        self.last = time.monotonic()

    def look(self, sweep: Sweep) -> None:
        """Write what is new."""
        for run_id in [run_id for run_id in sweep.active if run_id not in self.started]:
            self.started.add(run_id)
            device = sweep.active[run_id][1].device.label
            self.write(self._line("started", run_id, f"on {device}"), STYLES["running"])
        for run_id, state in [*sweep.ended.items(), *sweep.skipped.items()]:
            if run_id not in self.ended:
                self.ended.add(run_id)
                self.write(self._end(sweep, run_id, state), STYLES.get(state, ""))
        if sweep.waiting and not sweep.active and not self.waits:
            self.waits = True
            self.write(f"waiting   {waiting_words(sweep)}", "")
        if self.every and time.monotonic() - self.last > self.every:
            self.last = time.monotonic()
            for run in self.progress.running(sweep):
                self.write(f"running   {words(run)}", "")

    def _end(self, sweep: Sweep, run_id: str, state: str) -> str:
        ended = f"[{len(self.ended)}/{len(self.labels)}]"
        status = sweep.store.run(run_id).status()
        summary = status.summary if status else {}
        figures = f"loss {summary['loss']:.4f}" if "loss" in summary else ""
        if step := summary.get("diverged_step"):
            figures = f"at step {step}"
        if rate := summary.get("tokens_per_second"):
            figures += f"  {count(rate)} tokens/s"
        if seconds := summary.get("wall_seconds"):
            figures += f"  {spell_duration(seconds)}"
        return self._line(state, run_id, f"{figures}  {ended}")

    def _line(self, state: str, run_id: str, figures: str) -> str:
        name, around = self.labels[run_id], len(f"{state:9}   {figures}")
        if self.columns is not None:
            name = shortened(name, max(LEAST_LABEL, self.columns - around))
        return f"{state:9} {name}  {figures}"


def waiting_words(sweep: Sweep) -> str:
    """Return the reason why a sweep waits: devices with their users, or runs that another sweep trains."""
    used = [f"{device} ({harmless(holder)})" for device, holder in sweep.holders.items()]
    return f"for devices that others use: {'; '.join(used)}" if used else "for runs that another sweep trains"


def words(run: RunProgress) -> str:
    """Return a line about the progress of a run."""
    if run.loss is None:
        return f"{run.label}  starting"
    rate = f"{count(run.tokens_per_second or 0)} tokens/s  {spell_duration(run.seconds_left)} left"
    return f"{run.label}  step {run.step}/{run.steps}  loss {run.loss:.4f}  {rate}"


def picture(progress: Progress, sweep: Sweep, console: Console) -> RenderableType:
    """Return the live display: the running runs, and the state of the sweep."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for run in progress.running(sweep)[:SHOWN]:
        bar = ProgressBar(run.steps, run.step, width=max(8, min(24, console.width // 5)))
        loss = "starting" if run.loss is None else f"loss {run.loss:.4f}"
        rate = "" if run.tokens_per_second is None else f"{count(run.tokens_per_second)} tokens/s"
        left = "" if run.seconds_left is None else f"{spell_duration(run.seconds_left)} left"
        cells = [f"{run.step}/{run.steps}", loss, rate, left, run.device]
        name = shortened(run.label, max(LEAST_LABEL, console.width // 4))
        table.add_row(Text(name, style="bold"), bar, *map(Text, cells))
    counts = progress.counts(sweep)
    total = "  ".join(f"{number} {state}" for state, number in counts.items() if number)
    return Group(table, Text(f"{total}   about {spell_duration(progress.seconds_left(sweep))} left", style="dim"))

"""Run a user's command when a run fails or diverges, and at the end of a sweep.

The command is the user's own: from the command line or $TITANS_LAB_NOTIFY, never from a study or a store. Variables of
its environment say what happened, so that no text of a record becomes a part of the command.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from titans_lab.store.store import Store
from titans_lab.sweep import Sweep
from titans_lab.tables import harmless_lines

PATIENCE_SECONDS = 30.0  # for the commands that are left at the end
MOST_CHARACTERS = 2000  # of a message


@dataclass
class Notifier:
    """Calls a command by the system's shell, one call at a time, and never waits for it while runs go on.

    Attributes:
        command: The command.
        store: The store.
        study: The name of the study.
        labels: The label of each run by its id.
        failed: The number of calls that did not succeed.
    """

    command: str
    store: Store
    study: str
    labels: Mapping[str, str]
    failed: int = 0
    told: set[str] = field(default_factory=set)
    waiting: deque[dict[str, str]] = field(default_factory=deque)
    call: subprocess.Popen[bytes] | None = None

    def look(self, sweep: Sweep) -> None:
        """Tell of the runs that have failed or diverged since the last look."""
        for run_id, state in sweep.ended.items():
            if state != "done" and run_id not in self.told:
                self.told.add(run_id)
                event = "diverged" if state == "diverged" else "failed"
                self._tell(event, f"{self.study}: {self.labels[run_id]}: {state}{self._why(run_id)}", run_id, state)
        self._go_on()

    def end(self, states: Counter[str]) -> None:
        """Tell of the end of the sweep, and wait for the calls that are left, for a while."""
        words = ", ".join(f"{count} {state}" for state, count in states.most_common())
        self._tell("end", f"{self.study}: {words}", "", "")
        latest = time.monotonic() + PATIENCE_SECONDS
        while (self.call or self.waiting) and time.monotonic() < latest:
            self._go_on()
            time.sleep(0.02)
        if self.call:
            self.call.kill()
            self.call.wait()
            self.failed += 1
        self.failed += len(self.waiting)

    def _why(self, run_id: str) -> str:
        status = self.store.run(run_id).status()
        lines = (status.error or "").strip().splitlines() if status else []
        return f": {lines[-1]}" if lines else ""

    def _tell(self, event: str, message: str, run_id: str, state: str) -> None:
        facts = {"EVENT": event, "MESSAGE": message, "STUDY": self.study, "STORE": str(self.store.root.absolute())}
        facts |= {"RUN": run_id, "STATE": state}
        self.waiting.append(
            {f"TITANS_LAB_{key}": harmless_lines(text)[:MOST_CHARACTERS] for key, text in facts.items()}
        )

    def _go_on(self) -> None:
        """Begin the next call where none is under way."""
        if self.call and (code := self.call.poll()) is not None:
            self.failed += code != 0
            self.call = None
        if self.call is None and self.waiting:
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            environment = os.environ | self.waiting.popleft()
            self.call = subprocess.Popen(self.command, shell=True, env=environment, start_new_session=True, **quiet)  # type: ignore[call-overload]

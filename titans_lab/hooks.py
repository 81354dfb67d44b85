"""Run a sweep with what the user wants beside it: trackers that mirror it, and a command that is told of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from titans_lab import launch
from titans_lab.launch import Launch, SweepOutcome
from titans_lab.notify import Notifier
from titans_lab.quantities import plural
from titans_lab.run.run import labels
from titans_lab.sweep import Sweep
from titans_lab.tracking import check_trackers, mirrored


@dataclass(frozen=True)
class Hooks:
    """What runs beside a sweep. Raise UserError where a tracker is unknown or not installed.

    Attributes:
        track: The trackers that mirror each run: see `titans_lab.tracking.TRACKERS`.
        notify: The command that is told of a failure, a divergence and the end: see `titans_lab.notify`. None: none.
    """

    track: tuple[str, ...] = ()
    notify: str | None = None

    def __post_init__(self) -> None:
        check_trackers(self.track)


def run(
    prepared: Launch, look: Callable[[Sweep], bool | None], hooks: Hooks, warn: Callable[[str], None]
) -> SweepOutcome:
    """Execute the runs of a sweep, and return how it ended.

    Args:
        prepared: The sweep.
        look: A function that is called after each turn, as `Sweep.run` calls it.
        hooks: What runs beside it. Nothing of it ends or delays a run.
        warn: A function that is called with a line for each part of `hooks` that failed.
    """
    store, study = prepared.sweep.store, prepared.study.variant
    notifier = Notifier(hooks.notify, store, study, labels(prepared.waiting)) if hooks.notify else None

    with mirrored(store, study, prepared.waiting, hooks.track) as mirrors:

        def all_look(sweep: Sweep) -> bool | None:
            mirrors.follow([*sweep.active, *sweep.ended])
            if notifier:
                notifier.look(sweep)
            return look(sweep)

        ended = launch.run(prepared, all_look)
    for line in mirrors.warnings:
        warn(line)
    if notifier:
        notifier.end(ended.states)
        if notifier.failed:
            warn(f"--notify: {plural(notifier.failed, 'call')} of the command did not succeed")
    return ended

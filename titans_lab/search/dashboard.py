"""Show a live search in optuna-dashboard, on this machine only.

The dashboard has a copy of the trials in memory. What a reader changes there changes neither the search nor the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from importlib.util import find_spec
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import optuna
from optuna.storages import InMemoryStorage

from titans_lab.errors import UserError, install
from titans_lab.search.proposer import Goal, ended_trials, new_study
from titans_lab.search.trial import Trial

if TYPE_CHECKING:
    from titans_lab.search.coordinator import Coordinator

HOST = "127.0.0.1"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Dashboard:
    """The trials that the dashboard shows. It gets each of them when it has ended.

    Attributes:
        storage: The trials, as Optuna keeps them.
        address: The address of the dashboard.
    """

    def __init__(self) -> None:
        self.storage, self.address = InMemoryStorage(), ""
        self._shown: dict[str, set[int]] = {}  # the numbers of the trials of each search

    def look(self, search: Coordinator) -> None:
        """Take over the trials that have ended since the last look."""
        for tuning in search.tunings:
            self.show(tuning.goal, list(tuning.trials.values()))

    def show(self, goal: Goal, trials: list[Trial]) -> None:
        """Take over the trials of one search that have ended since the last call."""
        if goal.name not in {study.study_name for study in self.storage.get_all_studies()}:  # or a reader deleted it
            new_study(goal, self.storage)
            self._shown[goal.name] = set()
        shown = self._shown[goal.name]
        fresh = {trial.number for trial in trials if not trial.running} - shown
        if fresh:
            with suppress(KeyError):  # deleted at this moment: the next call brings it back
                study = optuna.load_study(study_name=goal.name, storage=self.storage)
                study.add_trials(ended_trials(goal, trials, fresh))
            shown |= fresh


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing: the lines of the search are on the terminal."""


def require_package() -> None:
    """Raise UserError where the package optuna-dashboard is not installed."""
    if find_spec("optuna_dashboard") is None:
        raise UserError(f"--dashboard: needs the package optuna-dashboard: {install('dashboard')}")


@contextmanager
def dashboard() -> Iterator[Dashboard]:
    """Serve a dashboard at a free port of this machine while the block runs. It needs the package optuna-dashboard."""
    from optuna_dashboard import wsgi

    shown = Dashboard()
    with _Server((HOST, 0), _Quiet) as server:
        names = {f"{name}:{server.server_port}" for name in (HOST, "localhost")}
        shown.address = f"http://{HOST}:{server.server_port}/"
        server.set_app(of_this_machine(wsgi(shown.storage), names))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield shown
        finally:
            server.shutdown()
            thread.join()


def of_this_machine(application: Application, names: set[str]) -> Application:
    """Return an application that refuses requests under another host's name, so that no web page can reach it."""

    def checked(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") in names:
            return application(environ, start)
        start(f"{HTTPStatus.FORBIDDEN.value} {HTTPStatus.FORBIDDEN.phrase}", [("Content-Type", "text/plain")])
        return [b"the Host header names another server"]

    return checked

"""The trials that a dashboard gets, and whom it answers. `tests/eval` has the real optuna-dashboard."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from searches import Searching

from titans_lab.errors import UserError
from titans_lab.search.dashboard import Dashboard, of_this_machine, require_package


def test_a_dashboard_gets_each_trial_once_when_it_has_ended(searching: Searching) -> None:
    search, board, counts = searching("  trials: 6\n"), Dashboard(), list[int]()

    def look(search: Any, _: Any) -> None:
        board.look(search)
        board.look(search)
        ended = sum(len(tuning.ended) for tuning in search.tunings)
        [study] = board.storage.get_all_studies()
        assert len(board.storage.get_all_trials(study._study_id)) == ended
        counts.append(ended)

    search.run(look)
    [tuning], [study] = search.tunings, board.storage.get_all_studies()
    assert study.study_name == tuning.goal.name
    shown = board.storage.get_all_trials(study._study_id)
    assert sorted(trial.params["train.lr"] for trial in shown) == sorted(
        trial.params["train.lr"] for trial in tuning.trials.values()
    )
    values = {trial.params["train.lr"]: trial.values for trial in shown}
    assert all(values[trial.params["train.lr"]] == list(trial.values) for trial in tuning.trials.values())
    assert len({*counts} - {0, 6}) > 0  # it was shown on the way


def test_a_search_that_a_reader_deletes_is_shown_again(searching: Searching) -> None:
    search, board = searching("  trials: 3\n"), Dashboard()
    search.run(lambda now, _: board.look(now))
    [study] = board.storage.get_all_studies()
    board.storage.delete_study(study._study_id)
    board.look(search)
    [study] = board.storage.get_all_studies()
    assert len(board.storage.get_all_trials(study._study_id)) == 3


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1:80", "200 OK"), ("evil.example:80", "403 Forbidden")])
def test_a_request_under_another_host_s_name_is_refused(host: str, status: str) -> None:
    answered: list[str] = []

    def application(_: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"page"]

    checked = of_this_machine(application, {"127.0.0.1:80"})
    content = checked({"HTTP_HOST": host}, lambda line, _: answered.append(line))
    assert answered == [status]
    assert (content == [b"page"]) is (status == "200 OK")


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(UserError, match=r"--dashboard: needs the package optuna-dashboard: pip install -e '\.\[dash"):
        require_package()

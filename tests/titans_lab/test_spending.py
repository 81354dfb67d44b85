from __future__ import annotations

from titans_lab.spending import Spent
from titans_lab.study.terms import Budget


def test_spending_counts_devices_while_they_work():
    spent = Spent()
    for now, busy in ((100.0, 0), (1900.0, 2), (3700.0, 0)):
        spent.by(busy, now)
    assert spent.devices == 3600.0
    assert [spent.over(budget) for budget in (Budget(), Budget(device_time=3960), Budget(device_time=3600))] == [
        False,
        False,
        True,
    ]
    assert [spent.over(Budget(wall_time=seconds)) for seconds in (3960, 3600)] == [False, True]

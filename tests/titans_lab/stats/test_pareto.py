from __future__ import annotations

from draws import generator

from titans_lab.stats.pareto import front


def test_no_point_of_the_front_is_beaten_and_every_other_is():
    points = [tuple(point) for point in generator().integers(0, 12, (40, 2)).tolist()]
    kept = front(points)

    def beaten(point: tuple[int, int]) -> bool:
        return any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)

    assert sorted(kept) == [index for index, point in enumerate(points) if not beaten(point)]
    assert [points[index] for index in kept] == sorted(points[index] for index in kept)


def test_the_front_of_a_chain_is_its_best_and_of_a_trade_all():
    assert front([(3, 3), (1, 1), (2, 2)]) == [1]
    assert front([(3, 1), (1, 3), (2, 2)]) == [1, 2, 0]
    assert front([]) == []

"""From what a study file says to its combinations, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from titans_lab.study.axes import STUDY, check_name
from titans_lab.study.compare import check_baseline, hold_equal, mark_baseline, refuse_idle_arms, targets
from titans_lab.study.derived import DERIVED
from titans_lab.study.hold import KEYS
from titans_lab.study.identity import read_values
from titans_lab.study.outline import PRESET, Block, Outline, Problems
from titans_lab.study.points import Draft, Point, Sieve, check_size, draft, idle_exclusions, refuse_empty, sift
from titans_lab.study.settings import Setting
from titans_lab.study.space import Choice, Space, check_space
from titans_lab.study.terms import Terms


@dataclass(frozen=True)
class Expanded:
    """The combinations of a study, and what in it is probably not meant, a line each."""

    drafts: tuple[Draft, ...]
    warnings: tuple[str, ...]

    @property
    def points(self) -> tuple[Point, ...]:
        """What the combinations come to."""
        return tuple(each.point for each in self.drafts)


def check_spaces(written: Outline, problems: Problems) -> list[Space]:
    """The study, or each of its sub-studies, with values of the right types."""
    for name, (place, _) in written.studies.items():
        check_name(name, place, "studies", problems)
    return [
        check_space(name, block, {STUDY: name} if name else {}, problems) for name, block in written.blocks().items()
    ]


def starting_point(written: Outline, problems: Problems) -> Choice:
    """The base of the study: what a run is of which nothing varies."""
    base = Block(preset=written.block.preset, base=written.block.base)
    return check_space("", base, {}, problems).start


def expand(written: Outline, spaces: Sequence[Space], start: Choice, terms: Terms, problems: Problems) -> Expanded:
    """All combinations that the rules of the study keep, with what is held solved for. Raises UserError."""
    rule = check_baseline(written.terms["baseline"], spaces, problems) if "baseline" in written.terms else None
    check_size(spaces, len(terms.seeds), problems)
    problems.stop()
    sieve = Sieve()
    held = {KEYS[by] for by in terms.hold.by} if terms.hold else set()
    late = held | DERIVED.keys()
    drafts: Sequence[Draft] = draft(spaces, len(terms.seeds), late, sieve, problems)
    refuse_empty(spaces, drafts, sieve, problems)
    problems.stop()
    drafts = mark_baseline(drafts, rule, problems)
    if terms.hold:
        hold = Setting(terms.hold, written.terms["hold"].place)
        goals = targets(drafts, hold, start, rule, problems)
        problems.stop()
        drafts = hold_equal(drafts, hold, goals, problems)
    problems.stop()
    drafts = sift(drafts, late, sieve, problems)
    refuse_empty(spaces, drafts, sieve, problems)
    refuse_idle_arms(drafts, spaces, problems)
    problems.stop()
    points = [each.point for each in drafts]
    return Expanded(tuple(drafts), (*_unread(spaces, points), *idle_exclusions(spaces, sieve)))


def _unread(spaces: Iterable[Space], points: Sequence[Point]) -> Iterator[str]:
    """A warning for each key that is set and that no combination reads."""
    unread = {key: place for space in spaces for key, place in space.set_keys().items()}
    for point in points:
        if not unread:
            return
        for key in unread.keys() & {PRESET, *read_values(point.config)}:
            del unread[key]
    variants = ", ".join(dict.fromkeys(point.config.model.variant for point in points))
    for key, place in unread.items():
        yield f"{place}: {key}: set, and no run of this study reads it (model.variant is {variants}); remove it"

"""Points: the combinations of a study as configurations that can be run, with `hold` solved for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from titans_lab.errors import UserError, nearest
from titans_lab.run.config import Impossible, RunConfig, build, leaves
from titans_lab.run.derived import DERIVED, KEYS, QUANTITIES, SOLVED_BY, UNITS, Hold, Solution, alternative, solve
from titans_lab.run.identity import read_values, run_id
from titans_lab.run.values import ARM, MOST_RUNS, NAMED, PRESET, show
from titans_lab.study.reading import Problems, Setting
from titans_lab.study.sieve import Sieve, blamed, some
from titans_lab.study.space import UNCHANGED, Choice, Rule, Space

VOCABULARY = "model.vocab_size"


@dataclass(frozen=True)
class Point:
    """One combination of a study.

    Attributes:
        factors: The varied keys, dotted, and their values here. "study" and "arm" are names.
        config: The configuration.
        space: The space of the combination.
        choice: The settings of the study for it, with places.
        solved: The values that `hold` found for it, by dotted key.
        deviation: The deviation from the held cost, as a share of that. None: no cost is held.
        baseline: Whether others are compared with it.
    """

    factors: dict[str, Any]
    config: RunConfig
    space: Space = field(repr=False, compare=False)
    choice: Choice = field(repr=False, compare=False)
    solved: dict[str, Any] = field(default_factory=dict)
    deviation: float | None = None
    baseline: bool = False

    def lookup(self, name: str) -> Any:
        """Return the value of a name in an expression."""
        if name in DERIVED:
            return DERIVED[name](self.config)
        return self.solved[name] if name in self.solved else self.choice.lookup(name)

    def located(self, error: UserError, file: str) -> UserError:
        """Return the error with the place of the value that causes it, or the file where the study sets none."""
        if str(error).partition(":")[0] not in leaves():
            return error  # the error already names its place
        return UserError(f"{blamed(str(error), self.choice.layers) or file}: {error}")


@dataclass(frozen=True)
class Held:
    """The key `hold` of a study.

    Attributes:
        hold: The cost to hold and the keys to solve for.
        place: The place of the key.
    """

    hold: Hold
    place: str


def points_of(
    spaces: Sequence[Space], seeds: int, baseline: Setting | None, held: Held | None, base: Choice, problems: Problems
) -> tuple[list[Point], list[str]]:
    """Return the combinations that the rules of a study keep, and warnings about probable mistakes.

    Args:
        spaces: The study, or each of its sub-studies.
        seeds: The number of seeds of each combination.
        baseline: The arms that others are compared with: the name of an arm or a sub-study, or a rule.
        held: The cost that is equal in all arms.
        base: The study's base, whose cost is the target if there is no baseline.
        problems: The problems found so far.

    Raises:
        UserError: There are problems. The message has all of them.
    """
    rule = _baseline_rule(baseline, spaces, problems) if baseline else None
    size = sum(space.size for space in spaces)
    if size > 1 and size * seeds > MOST_RUNS:
        _refuse_size(spaces, size, seeds, problems)
    problems.stop()
    sieve, late = Sieve(), late_names(held)
    points = built(spaces, seeds, late, sieve, problems)
    _refuse_empty(spaces, points, sieve, problems)
    problems.stop()
    points = _marked(points, rule, problems)
    if held:
        targets = _targets(points, held, base, rule, problems)
        problems.stop()
        points = hold_equal(points, held, targets, problems)
    problems.stop()
    points = sift(points, late, sieve, problems)
    _refuse_empty(spaces, points, sieve, problems)
    _refuse_idle_arms(points, spaces, problems)
    problems.stop()
    return points, [*_unread(spaces, points), *_idle_exclusions(spaces, sieve)]


def late_names(held: Held | None) -> frozenset[str]:
    """Return the names whose values are known only after a configuration is built and `hold` is solved."""
    return frozenset(DERIVED) | frozenset(held.hold.keys if held else ())


def built(spaces: Sequence[Space], seeds: int, late: Collection[str], sieve: Sieve, problems: Problems) -> list[Point]:
    """Return the combinations as configurations, but for those that a rule removes.

    Rules that use `late` are skipped.
    """
    kept: list[tuple[Space, Choice]] = []
    total = 0
    for space in spaces:
        rules = [rule for rule in space.rules if not rule.names & set(late)]
        for choice in space.choices(problems):
            total += 1
            if sieve.passes(rules, choice.lookup, choice.factors):
                kept.append((space, choice))
            if len(kept) > 1 and len(kept) * seeds > MOST_RUNS:
                _refuse_size(spaces, len(kept), seeds, problems)
    points = []
    for space, choice in kept:
        try:
            points.append(Point(dict(choice.factors), configured(choice.values), space, choice))
        except Impossible as error:
            for fault in error.faults:
                place = blamed(fault, choice.layers) or next(s.place for layer in choice.layers for s in layer.values())
                sieve.fault(f"{place}: {fault}", choice.factors)
    sieve.report(total, problems)
    return points


def configured(values: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of some values, with the vocabulary of the data where nothing sets one.

    Raises:
        Impossible: The values do not go together.
    """
    config = build(RunConfig, values)
    if VOCABULARY in values:
        return config
    try:
        needed = config.task.settings.tokens_of(config.data)
    except UserError:  # a run's identity reads the same data, and names the line that is to blame
        return config
    return config if needed is None else build(RunConfig, {**values, VOCABULARY: needed})


def sift(points: Sequence[Point], late: Collection[str], sieve: Sieve, problems: Problems) -> list[Point]:
    """Return the points that the skipped rules keep."""
    rules = {id(each.space): [rule for rule in each.space.rules if rule.names & set(late)] for each in points}
    kept = [each for each in points if sieve.passes(rules[id(each.space)], each.lookup, each.factors)]
    sieve.report(len(points), problems)
    return kept


def hold_equal(points: Sequence[Point], held: Held, targets: Sequence[int], problems: Problems) -> list[Point]:
    """Return the points with `hold` solved, each within one percent of its target."""
    found: list[Point] = []
    unmet: list[tuple[Point, Solution, int]] = []
    for point, target in zip(points, targets, strict=True):
        try:
            solution = solve(point.config, held.hold, target)
        except ValueError as error:
            problems.add(held.place, "hold", f"{error} (with {some([point.factors])})")
            continue
        if not solution.holds:
            unmet.append((point, solution, target))
        found.append(replace(point, config=solution.config, solved=solution.values, deviation=solution.deviation))
    if unmet:
        problems.add(held.place, "hold", _refusal(held.hold, unmet))
    return found


def _baseline_rule(baseline: Setting, spaces: Sequence[Space], problems: Problems) -> Rule | None:
    """Return the rule for the arms that others are compared with."""
    if isinstance(baseline.value, Rule):
        return baseline.value
    names: dict[str, str] = {}
    for key in reversed(NAMED):
        levels = [level.factors for space in spaces for axis in space.axes for level in axis.levels]
        every = (*(space.start.factors for space in spaces), *levels)
        names |= {factors[key]: key for factors in every if key in factors}
    if isinstance(baseline.value, str) and baseline.value in names:
        key = names[baseline.value]
        return Rule(lambda lookup: lookup(key) == baseline.value, frozenset({key}), baseline.place, "baseline")
    known = nearest(str(baseline.value), tuple(names)) if names else "the study names none"
    words = f"{show(baseline.value)} is not an arm; {known}; write {{key: value}} for values"
    problems.add(baseline.place, "baseline", words)
    return None


def _marked(points: Sequence[Point], rule: Rule | None, problems: Problems) -> list[Point]:
    """Return the points with the baselines marked: by the rule, or without one the unchanged arms of an ablation."""
    marked = [
        replace(each, baseline=rule.holds(each.lookup) if rule else each.factors.get(ARM) == UNCHANGED)
        for each in points
    ]
    if rule and not any(each.baseline for each in marked):
        problems.add(rule.place, rule.key, "no run of this study has these values; name those of one that it has")
    return marked


def _targets(points: Sequence[Point], held: Held, base: Choice, rule: Rule | None, problems: Problems) -> list[int]:
    """Return the target cost of each point: that of the baseline, or without a rule that of the study's base."""
    hold, cost = held.hold, QUANTITIES[held.hold.what]
    varied: dict[str, str] = {}
    for space in {id(each.space): each.space for each in points}.values():
        varied |= space.varied_keys()
    for key in hold.keys:
        if key in varied:
            others = [way for way in SOLVED_BY[hold.what] if KEYS[way] not in varied]
            remedy = f"hold by {' or '.join(others)}, or let it not vary" if others else "let it not vary"
            problems.add(varied[key], key, f"varies, and hold would solve for it; {remedy}")
    if rule:
        return _baseline_targets(points, held, rule, problems)
    try:
        return [cost(configured(base.values))] * len(points)
    except Impossible as error:
        problems.add(held.place, "hold", f"the base alone is not a model: {error.faults[0]}; name an arm as baseline")
        return []


def _baseline_targets(points: Sequence[Point], held: Held, rule: Rule, problems: Problems) -> list[int]:
    """Return the cost of the baseline with the same other factors, else the common cost of all baselines."""
    cost = QUANTITIES[held.hold.what]
    costs = {_other(each, rule.names): cost(each.config) for each in points if each.baseline}
    only = next(iter(costs.values())) if len(set(costs.values())) == 1 else None
    found = [costs.get(_other(each, rule.names), only) for each in points]
    for each, target in zip(points, found, strict=True):
        if target is None:
            arm = some([each.factors])
            message = f"the baselines differ in {UNITS[held.hold.what]}, and none is there for {arm}"
            problems.add(rule.place, rule.key, f"{message}; name one by more of its values")
            return []
    return [target for target in found if target is not None]


def _refusal(hold: Hold, unmet: Sequence[tuple[Point, Solution, int]]) -> str:
    """Return the message for arms that miss the target: the deviation, and another way where there is one."""
    point, nearest_one, target = unmet[0]
    more = f" and {len(unmet) - 1} more" if len(unmet) > 1 else ""
    got = ", ".join(f"{key}={show(value)}" for key, value in nearest_one.values.items())
    other = alternative(point.config, hold, target)
    remedy = "remove the arm, or hold something else"
    if other:
        remedy = f"write {{what: {other.what}, by: [{', '.join(other.by)}]}}, which comes near enough"
    return (
        f"{some([point.factors])}{more} cannot have {target} {UNITS[hold.what]} within 1 %: the nearest, {got}, "
        f"is {nearest_one.deviation:+.1%} off; {remedy}"
    )


def _refuse_size(spaces: Sequence[Space], points: int, seeds: int, problems: Problems) -> None:
    place = next(place for space in spaces for place in (*space.varied_keys().values(), space.name))
    count = f"{points * seeds} runs ({points} combinations x {seeds} seeds), more than {MOST_RUNS}"
    problems.add(place, "grid", f"{count}; split the study")
    problems.stop()


def _refuse_empty(spaces: Sequence[Space], kept: Sequence[Point], sieve: Sieve, problems: Problems) -> None:
    """Add a problem for each space without a combination that the rules keep."""
    left = {id(each.space) for each in kept}
    for space in spaces:
        removers = [rule for rule in space.rules if sieve.removed[rule.place]]
        if id(space) not in left and removers:
            whose = f" of the sub-study {space.name}" if space.name else ""
            message = f"none of the {space.size} combinations{whose} is left; loosen it, or widen what varies"
            problems.add(removers[-1].place, removers[-1].key, message)


def _refuse_idle_arms(points: Sequence[Point], spaces: Sequence[Space], problems: Problems) -> None:
    """Add a problem for each arm of an ablation that is always the same run as the base."""
    bases = {_other(each, (ARM,)): each for each in points if each.factors.get(ARM) == UNCHANGED}
    differs: dict[str, bool] = {}
    for each in points:
        name, base = each.factors.get(ARM), bases.get(_other(each, (ARM,)))
        if name is not None and base is not None and base is not each and not differs.get(name):
            differs[name] = _identity(each) != _identity(base)
    for level in (level for space in spaces for axis in space.axes for level in axis.levels):
        if differs.get(level.factors.get(ARM, "")) is False:
            message = "is what the base has, or no run reads it; remove the arm, or change the base"
            problems.add(level.place, "ablate", f"{level.factors[ARM]} {message}")


def _unread(spaces: Iterable[Space], points: Sequence[Point]) -> Iterator[str]:
    """Yield a warning for each key that is set and that no combination reads."""
    unread = {key: place for space in spaces for key, place in space.set_keys().items()}
    for point in points:
        if not unread:
            return
        for key in unread.keys() & {PRESET, *read_values(point.config)}:
            del unread[key]
    variants = ", ".join(dict.fromkeys(point.config.model.variant for point in points))
    for key, place in unread.items():
        yield f"{place}: {key}: set, and no run of this study reads it (model.variant is {variants}); remove it"


def _idle_exclusions(spaces: Sequence[Space], sieve: Sieve) -> Iterator[str]:
    """Yield a warning for each exclusion that removes nothing."""
    places = {rule.place: None for space in spaces for rule in space.rules if rule.key == "exclude"}
    for place in places:
        if not sieve.removed[place]:
            yield f"{place}: exclude: no combination has these values, or an earlier rule removes it; remove the line"


def _other(point: Point, without: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return a point's factors without some of them."""
    left = {key: repr(value) for key, value in point.factors.items() if key not in without}
    return tuple(sorted(left.items()))


def _identity(point: Point) -> str:
    """Return the values that make two points the same run, with the paths and names instead of what they stand for."""
    return run_id(point.config, 0, str(point.config.data.path), str(point.config.init) if point.config.init else None)

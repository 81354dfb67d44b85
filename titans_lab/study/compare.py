"""What the arms of a study are compared with: its baseline, and costs that are held equal to its."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from titans_lab.errors import nearest
from titans_lab.study.axes import ARM, NAMED, UNCHANGED
from titans_lab.study.config import RunConfig
from titans_lab.study.fields import Impossible, build
from titans_lab.study.hold import KEYS, QUANTITIES, SOLVED_BY, UNITS, Hold, Solution, alternative, solve
from titans_lab.study.identity import run_id
from titans_lab.study.loader import Node
from titans_lab.study.outline import Problems
from titans_lab.study.points import Draft, some
from titans_lab.study.rules import Rule, mapping_rule
from titans_lab.study.settings import Setting
from titans_lab.study.space import Choice, Space
from titans_lab.study.values import show


def check_baseline(node: Node, spaces: Sequence[Space], problems: Problems) -> Rule | None:
    """Which arms others are compared with: by the name of an arm or a sub-study, or by values."""
    if isinstance(node.value, dict):
        return next(mapping_rule("baseline", node, problems), None)
    names = {name: key for key in reversed(NAMED) for name in _names(spaces, key)}
    if isinstance(node.value, str) and node.value in names:
        named = Node({names[node.value]: node}, node.place, node.key_place)
        return next(mapping_rule("baseline", named, problems))
    known = nearest(str(node.value), tuple(names)) if names else "the study names none"
    problems.add(node.place, "baseline", f"{show(node.plain())} is no arm; {known}; write {{key: value}} for values")
    return None


def mark_baseline(drafts: Sequence[Draft], rule: Rule | None, problems: Problems) -> list[Draft]:
    """The drafts, with those marked that are a baseline; without a rule, the unchanged arms of an ablation."""
    if rule is None:
        return [_marked(each, each.point.factors.get(ARM) == UNCHANGED) for each in drafts]
    marked = [_marked(each, rule.holds(each.lookup)) for each in drafts]
    if not any(each.point.baseline for each in marked):
        problems.add(rule.place, rule.key, "no run of this study has these values; name those of one that it has")
    return marked


def hold_equal(drafts: Sequence[Draft], hold: Setting, goals: Sequence[int], problems: Problems) -> list[Draft]:
    """The drafts with what is held solved for, each within a percent of its target."""
    held: list[Draft] = []
    unmet: list[tuple[Draft, Solution, int]] = []
    for each, target in zip(drafts, goals, strict=True):
        try:
            found = solve(each.point.config, hold.value, target)
        except Impossible as error:
            problems.add(hold.place, "hold", f"{error.faults[0]} (with {some([each.point.factors])})")
            continue
        if not found.holds:
            unmet.append((each, found, target))
        point = replace(each.point, config=found.config, solved=found.values, deviation=found.deviation)
        held.append(replace(each, point=point))
    if unmet:
        problems.add(hold.place, "hold", _refusal(hold.value, unmet))
    return held


def targets(drafts: Sequence[Draft], hold: Setting, base: Choice, rule: Rule | None, problems: Problems) -> list[int]:
    """What each draft is held to: the cost of the baseline that a rule names, else of the base."""
    _refuse_varied(drafts, hold.value, problems)
    cost = QUANTITIES[hold.value.what]
    if rule:
        return _baseline_targets(drafts, hold, rule, problems)
    try:
        return [cost(build(RunConfig, base.values))] * len(drafts)
    except Impossible as error:
        problems.add(hold.place, "hold", f"the base alone is no model: {error.faults[0]}; name an arm as baseline")
        return []


def refuse_idle_arms(drafts: Sequence[Draft], spaces: Sequence[Space], problems: Problems) -> None:
    """Adds a problem for each arm of an ablation that is nowhere another run than the base's."""
    bases = {_key(each, (ARM,)): each for each in drafts if each.point.factors.get(ARM) == UNCHANGED}
    differs: dict[str, bool] = {}
    for each in drafts:
        name, base = each.point.factors.get(ARM), bases.get(_key(each, (ARM,)))
        if name is not None and base is not None and base is not each and not differs.get(name):
            differs[name] = _identity(each) != _identity(base)
    levels = (level for space in spaces for axis in space.axes for level in axis.levels)
    for level in levels:
        if differs.get(level.factors.get(ARM, "")) is False:
            message = "is what the base has, or no run reads it; remove the arm, or change the base"
            problems.add(level.place, "ablate", f"{level.factors[ARM]} {message}")


def _names(spaces: Sequence[Space], key: str) -> list[str]:
    """The names of sub-studies, or of arms."""
    levels = [level.factors for space in spaces for axis in space.axes for level in axis.levels]
    every = (*(space.start.factors for space in spaces), *levels)
    return [factors[key] for factors in every if key in factors]


def _marked(draft: Draft, baseline: bool) -> Draft:
    return replace(draft, point=replace(draft.point, baseline=True)) if baseline else draft


def _refuse_varied(drafts: Sequence[Draft], hold: Hold, problems: Problems) -> None:
    """Adds a problem for each key that both varies and is to be solved for."""
    varied: dict[str, str] = {}
    for space in {id(each.space): each.space for each in drafts}.values():
        varied |= space.varied_keys()
    for by in hold.by:
        if KEYS[by] in varied:
            others = [way for way in SOLVED_BY[hold.what] if KEYS[way] not in varied]
            remedy = f"hold by {' or '.join(others)}, or let it not vary" if others else "let it not vary"
            problems.add(varied[KEYS[by]], KEYS[by], f"varies, and hold would solve for it; {remedy}")


def _baseline_targets(drafts: Sequence[Draft], hold: Setting, rule: Rule, problems: Problems) -> list[int]:
    """The cost of the baseline with the same other factors; else that of all baselines, if they have one."""
    cost = QUANTITIES[hold.value.what]
    costs = {_key(each, rule.names): cost(each.point.config) for each in drafts if each.point.baseline}
    only = next(iter(costs.values())) if len(set(costs.values())) == 1 else None
    found = [costs.get(_key(each, rule.names), only) for each in drafts]
    for each, target in zip(drafts, found, strict=True):
        if target is None:
            arm = some([each.point.factors])
            message = f"the baselines differ in {UNITS[hold.value.what]}, and none is there for {arm}"
            problems.add(rule.place, rule.key, f"{message}; name one by more of its values")
            return []
    return [target for target in found if target is not None]


def _refusal(hold: Hold, unmet: Sequence[tuple[Draft, Solution, int]]) -> str:
    """What is not near enough, by how much, and another way where there is one."""
    draft, nearest_one, target = unmet[0]
    more = f" and {len(unmet) - 1} more" if len(unmet) > 1 else ""
    got = ", ".join(f"{key}={show(value)}" for key, value in nearest_one.values.items())
    other = alternative(draft.point.config, hold, target)
    remedy = "remove the arm, or hold something else"
    if other:
        remedy = f"write {{what: {other.what}, by: [{', '.join(other.by)}]}}, which comes near enough"
    return (
        f"{some([draft.point.factors])}{more} cannot have {target} {UNITS[hold.what]} within 1 %: the nearest, {got}, "
        f"is {nearest_one.deviation:+.1%} off; {remedy}"
    )


def _key(draft: Draft, without: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """A draft's factors but for some."""
    left = {key: repr(value) for key, value in draft.point.factors.items() if key not in without}
    return tuple(sorted(left.items()))


def _identity(draft: Draft) -> str:
    """What makes two drafts the same run, the path for the data."""
    return run_id(draft.point.config, 0, str(draft.point.config.data.path))

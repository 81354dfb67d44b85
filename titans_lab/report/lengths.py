"""Accuracy by the length of the input, and by case if lengths do not vary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from titans_lab.quantities import plural
from titans_lab.report import plot
from titans_lab.report.arms import Arm, Design
from titans_lab.report.axis import octaves, tokens
from titans_lab.report.data import Material
from titans_lab.report.evidence import Row
from titans_lab.report.format import join
from titans_lab.report.lines import bars, marked, rounded
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Section, of_figure
from titans_lab.stats.interval import summarise
from titans_lab.stats.proportion import wilson

STATEMENT = "lengths"
#: The rows of `evals` that meet {where}, of one evaluation for each case, since evaluations may share questions.
LARGEST = """\
with answers as (
  select * replace (coalesce(setting, '') as setting),
         sum(count) over (partition by run_id, task, coalesce(setting, ''), length, evaluation) as questions
  from evals
  where {where}
), largest as (
  select *
  from answers
  qualify rank() over (
    partition by run_id, task, setting, length
    order by questions desc, finished desc nulls last, evaluation nulls last
  ) = 1
)"""
SQL = """\
select run_id, task, setting, length,
       sum(value * count order by value, count) / sum(count) as share, cast(sum(count) as bigint) as asked
from largest
group by run_id, task, setting, length
order by run_id, task, setting, length"""
WHERE = """\
run_id in ({ids}) and {by_then}
    and metric = 'accuracy' and length is not null and depth is null and baseline is null"""
MOST_NAMED = 4  # the most arms that the answer names
BESIDE = 0.03  # distance of two arms at the same length, in octaves
NAMES = {"needle": "Needle in a haystack", "babilong": "BABILong", "mqar": "Associative recall"}


@dataclass(frozen=True)
class Answers:
    """The answers of an arm's done seeds to one case.

    Attributes:
        shares: The share of right answers of each seed.
        asked: The number of questions of all seeds together.
    """

    shares: tuple[float, ...]
    asked: int

    @property
    def mean(self) -> float:
        """Return the mean over the seeds."""
        return sum(self.shares) / len(self.shares)

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval: t over several seeds, cut at 0 and 1, or Wilson over the questions of one seed."""
        if len(self.shares) == 1:
            return wilson(round(self.mean * self.asked), self.asked)
        found = summarise(self.shares)
        return max(0.0, found.low), min(1.0, found.high)


@dataclass(frozen=True)
class Facet:
    """A kind of question, with the answers of every arm by length.

    Attributes:
        task: The value of `task.name`.
        setting: The kind of question, as in the view `evals`.
        arms: The answers of each arm by length.
    """

    task: str
    setting: str
    arms: dict[Arm, dict[int, Answers]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the section's id on the page."""
        return "lengths-" + re.sub(r"[^a-z0-9]+", "-", f"{self.task} {self.setting}".lower()).strip("-")

    @property
    def title(self) -> str:
        """Return the section's title."""
        return NAMES.get(self.task, self.task) + (f": {self.setting}" if self.setting else "")

    @property
    def lengths(self) -> list[int]:
        """Return the lengths at which any arm was evaluated."""
        return sorted({length for answers in self.arms.values() for length in answers})


def of_largest(sql: str, where: str, material: Material) -> str:
    """Return a statement over the rows of `evals` that meet `where`, of the largest evaluation of each case.

    A case is a run, task, setting and length. Of two evaluations with equally many questions, the later one counts.
    """
    met = where.format(ids=material.ids, by_then=material.by_then("finished"))
    return f"{LARGEST.format(where=met)}\n{sql}"


def facets(material: Material, design: Design) -> list[Facet]:
    """Return the answers to each kind of question in the store."""
    rows = material.evidence.ask(STATEMENT, of_largest(SQL, WHERE, material))
    kinds = dict.fromkeys(sorted((row["task"], row["setting"]) for row in rows))
    return [_facet(task, setting, rows, design) for task, setting in kinds]


def _facet(task: str, setting: str, rows: Sequence[Row], design: Design) -> Facet:
    mine = [row for row in rows if (row["task"], row["setting"]) == (task, setting)]
    found = {arm: dict(_answers(arm, mine)) for arm in design.arms}
    return Facet(task, setting, {arm: answers for arm, answers in found.items() if answers})


def _answers(arm: Arm, rows: Sequence[Row]) -> Iterator[tuple[int, Answers]]:
    ids = {outcome.run.run_id for outcome in arm.done}
    mine = [row for row in rows if row["run_id"] in ids]
    for length in sorted({row["length"] for row in mine}):
        there = [row for row in mine if row["length"] == length]
        yield length, Answers(tuple(row["share"] for row in there), sum(row["asked"] for row in there))


def sections(material: Material, design: Design) -> Iterator[Section]:
    """Yield a figure for every kind asked at several lengths, and one for each task whose kinds have one length."""
    found = [facet for facet in facets(material, design) if facet.arms]
    trained = {outcome.run.config.train.seq_len for arm in design.arms for outcome in arm.outcomes}
    seq_len = trained.pop() if len(trained) == 1 else None
    for facet in found:
        if len(facet.lengths) > 1:
            asked = any(facet.task == arm.outcomes[0].run.config.task.name for arm in facet.arms)
            yield replace(of_figure(_by_length(facet, seq_len)), answer=_answer(facet) if asked else "")
    for task in dict.fromkeys(facet.task for facet in found):
        cases = [facet for facet in found if facet.task == task and len(facet.lengths) == 1]
        if len(cases) > 1:
            yield of_figure(_by_case(task, cases))


READING = (
    "Share of right answers, the mean over an arm's finished seeds. Bars are 95 % intervals: t over the seeds, or for "
    "a single seed Wilson over its questions, which says nothing about other seeds. {asked} questions per point; if a "
    "run was evaluated several times, the largest evaluation counts."
)


def _by_length(facet: Facet, trained: int | None) -> Figure:
    several = plot.named(len(facet.arms))
    marks = [plot.reference_line(x0=trained, x1=trained, y0=0, y1=1, xref="x", yref="paper")] if trained else []
    return Figure(
        name=facet.name,
        title=f"{facet.title}, by length",
        caption=READING.format(asked=_asked([facet])) + (" The dashed line is the training length." if marks else ""),
        alt=f"Line plot of the share of right answers against the length. {_spoken(facet)}",
        traces=[
            _trace(arm, answers, several, beside(place, len(facet.arms)))
            for place, (arm, answers) in enumerate(facet.arms.items())
        ],
        layout=plot.layout(
            {"title": "length, tokens"} | octaves([*facet.lengths, *([trained] if trained else [])]),
            {"title": "accuracy, share of answers", "range": (-0.04, 1.04)},
            shapes=marks,
        ),
        queries=(STATEMENT,),
    )


def beside(place: int, count: int) -> float:
    """Return the factor that moves an arm's lengths on the logarithmic axis so that no bar hides another."""
    return 2 ** (BESIDE * (place - (count - 1) / 2))


def _trace(arm: Arm, answers: dict[int, Answers], legend: bool, factor: float) -> Json:
    hover = [f"{arm.label}, {tokens(length)} tokens: {_described(each)}" for length, each in answers.items()]
    return _drawn(arm, rounded(length * factor for length in answers), list(answers.values()), hover, legend)


def _drawn(arm: Arm, x: list[Any], answers: list[Answers], hover: list[str], legend: bool) -> Json:
    means = rounded(each.mean for each in answers)
    low, high = zip(*(each.interval for each in answers), strict=True)
    texts = {"text": [plot.text(words) for words in hover], "hovertemplate": "%{text}<extra></extra>"}
    return marked(arm, x, means, legend, error_y=bars(arm, means, low, high), **texts)


def _by_case(task: str, cases: list[Facet]) -> Figure:
    """Return the figure of a suite whose lengths rise with the difficulty: one place on the axis for each case."""
    cases = sorted(cases, key=lambda facet: (facet.lengths, len(facet.setting), facet.setting))
    arms = list(dict.fromkeys(arm for facet in cases for arm in facet.arms))
    ticks = {"tickvals": list(range(len(cases))), "ticktext": [plot.text(_case(facet)) for facet in cases]}
    return Figure(
        name=f"cases-{task}",
        title=f"{NAMES.get(task, task)}, by case",
        caption=READING.format(asked=_asked(cases)),
        alt="Dot plot of the share of right answers by case, a line for every arm.",
        traces=[_cases_of(arm, cases, plot.named(len(arms))) for arm in arms],
        layout=plot.layout(
            {"title": "case", "range": (-0.5, len(cases) - 0.5), **ticks},
            {"title": "accuracy, share of answers", "range": (-0.04, 1.04)},
        ),
        queries=(STATEMENT,),
    )


def _cases_of(arm: Arm, cases: list[Facet], legend: bool) -> Json:
    known = {place: facet for place, facet in enumerate(cases) if arm in facet.arms}
    answers = [facet.arms[arm][facet.lengths[0]] for facet in known.values()]
    hover = [
        f"{arm.label}, {_case(facet)}: {_described(each)}" for facet, each in zip(known.values(), answers, strict=True)
    ]
    return _drawn(arm, list(known), answers, hover, legend)


def _case(facet: Facet) -> str:
    return f"{facet.setting}, {tokens(facet.lengths[0])}"


def _described(answers: Answers) -> str:
    low, high = answers.interval
    seeds = "" if len(answers.shares) == 1 else f" of {len(answers.shares)} seeds"
    return f"{answers.mean:.3f} ({low:.3f} to {high:.3f}), {answers.asked:,} questions{seeds}"


def _asked(cases: list[Facet]) -> str:
    counts = {each.asked for facet in cases for answers in facet.arms.values() for each in answers.values()}
    return f"{min(counts):,}" if len(counts) == 1 else f"{min(counts):,} to {max(counts):,}"


def _answer(facet: Facet) -> str:
    """Return the accuracy of the arms at the longest length that they were asked at, the best first."""
    longest = facet.lengths[-1]
    known = [(arm.label, answers[longest]) for arm, answers in facet.arms.items() if longest in answers]
    ordered = sorted(known, key=lambda pair: -pair[1].mean)
    said = []
    for label, each in ordered:
        low, high = each.interval
        said.append(f"{label} {each.mean:.3f} (95 % CI {low:.3f} to {high:.3f}, {plural(len(each.shares), 'seed')})")
    return f"Accuracy at {tokens(longest)} tokens: {join(said, MOST_NAMED)}."


def _spoken(facet: Facet) -> str:
    longest = facet.lengths[-1]
    scores = [f"{arm.label}: {answers[longest].mean:.2f}" for arm, answers in facet.arms.items() if longest in answers]
    return f"At {tokens(longest)} tokens, {'; '.join(scores)}."

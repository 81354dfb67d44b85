"""Perplexity against the length of training, a line for every depth of the memory: the paper's figure 7."""

from __future__ import annotations

from collections.abc import Mapping

from titans_lab import paper
from titans_lab.report import plot
from titans_lab.report.arms import BASELINE, Arm, Design, phrase, short_names
from titans_lab.report.axis import octaves, tokens
from titans_lab.report.data import Material
from titans_lab.report.format import NONE, plus_minus
from titans_lab.report.lengths import beside
from titans_lab.report.lines import bars, rounded
from titans_lab.report.plot import Figure, Json
from titans_lab.report.section import Row, Section, Table, TableCell, cell, mean_cell
from titans_lab.stats.interval import Summary, summarise

LENGTH = "train.seq_len"
STATEMENT = "perplexities"
SQL = """\
select run_id, value
from evals
where run_id in ({ids}) and evaluation is null and baseline is null and task = 'text' and metric = 'token_perplexity'
  and split = 'test'  and isfinite(value)
order by run_id"""
PAPER = ("depth-170M", "depth-360M", "depth-760M")

#: The arms that differ only in the length, by length, with the perplexity of their seeds.
Line = dict[int, tuple[Arm, Summary]]


def section(material: Material, design: Design) -> Section | None:
    """Return our perplexities by training length, and below them the paper's.

    Return None for a study that does not vary the length of its windows.
    """
    if not any(LENGTH in arm.outcomes[0].run.factors for arm in design.arms):
        return None
    rows = material.evidence.ask(STATEMENT, SQL.format(ids=material.ids))
    lines = _lines(design, {row["run_id"]: row["value"] for row in rows})
    if not lines:
        return None
    lengths = sorted({length for line in lines.values() for length in line})
    figure = Figure(
        name="perplexity-length",
        title="Perplexity by training length",
        caption="Perplexity per token of the test text, read in windows of the training length: the mean over "
        "the finished seeds, with 95 % t intervals (two seeds or more). The table adds the paper's figure 7, read off "
        "a plot. The paper's models have 170M to 760M parameters and another vocabulary, so compare the shape, not "
        "the height.",
        alt="Line plot of the perplexity against the length of training; the table has the numbers.",
        traces=[_trace(place, name, lines) for place, name in enumerate(lines)],
        layout=plot.layout({"title": "training length, tokens"} | octaves(lengths), {"title": "perplexity per token"}),
        queries=(STATEMENT,),
    )
    return Section(figure.name, figure.title, (STATEMENT,), figure.caption, figure, _table(lines, lengths))


def _lines(design: Design, values: Mapping[str, float]) -> dict[str, Line]:
    keys = list(dict.fromkeys(key for arm in design.arms for key in arm.outcomes[0].run.factors))
    names, lines = short_names(keys), dict[str, Line]()
    for arm in design.arms:
        factors = arm.outcomes[0].run.factors
        label = phrase({names[key]: value for key, value in factors.items() if key != LENGTH})
        found = [values[one.run.run_id] for one in arm.done if one.run.run_id in values]
        if found:
            length = arm.outcomes[0].run.config.train.seq_len
            lines.setdefault(label or BASELINE, {})[length] = arm, summarise(found)
    return {name: dict(sorted(line.items())) for name, line in lines.items() if len(line) > 1}


def _trace(place: int, name: str, lines: Mapping[str, Line]) -> Json:
    line = lines[name]
    arms = [arm for arm, _ in line.values()]
    shades = {plot.colour(arm) for arm in arms}
    means = rounded(found.mean for _, found in line.values())
    hover = [f"{name}, {tokens(length)} tokens: {plus_minus(found)}" for length, (_, found) in line.items()]
    half = [found.half_width or 0.0 for _, found in line.values()]
    low, high = ([mean + side * each for mean, each in zip(means, half, strict=True)] for side in (-1, 1))
    return plot.line(
        arms[0],
        rounded(length * beside(place, len(lines)) for length in line),
        means,
        mode="lines+markers",
        name=plot.text(name),
        line={"color": shades.pop() if len(shades) == 1 else plot.MUTED, "dash": plot.dash(arms[0]), "width": 2},
        marker={"color": [plot.colour(arm) for arm in arms], "symbol": [plot.symbol(arm) for arm in arms], "size": 9},
        error_y=bars(arms[0], means, low, high),
        text=[plot.text(words) for words in hover],
        hovertemplate="%{text}<extra></extra>",
        showlegend=len(lines) > 1,
    )


def _table(lines: Mapping[str, Line], lengths: list[int]) -> Table:
    """Return the table of our perplexities by length, then the paper's."""
    theirs = [paper.tables()[name] for name in PAPER]
    names = list(dict.fromkeys([*map(tokens, lengths), *theirs[0].columns]))
    rows = [
        Row(("ours", name), _cells(names, {tokens(length): found for length, (_, found) in line.items()}))
        for name, line in lines.items()
    ]
    for table in theirs:
        whose = f"{table.source}, {table.title.rpartition(', ')[2]}"
        rows += [Row((whose, f"depth {depth}"), _theirs(names, table, depth)) for depth in table.rows]
    return Table(("whose", "model"), tuple(names), tuple(rows))


def _cells(names: list[str], known: Mapping[str, Summary]) -> tuple[TableCell, ...]:
    return tuple(mean_cell(f"perplexity at {name}", known.get(name), 3) for name in names)


def _theirs(names: list[str], table: paper.PaperTable, depth: str) -> tuple[TableCell, ...]:
    known = dict(zip(table.columns, table.rows[depth], strict=True))
    return tuple(cell(_two_digits, **{f"perplexity_at_{name.lower()}": known.get(name)}) for name in names)


def _two_digits(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"

"""A report for papers and programs: Markdown and JSON in one file, a CSV or LaTeX file for every table."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator

from titans_lab import tables as tables_as
from titans_lab.report import provenance, tables
from titans_lab.report.head import head
from titans_lab.report.render import Report
from titans_lab.report.runs import run_table
from titans_lab.report.section import Table
from titans_lab.tables import markdown_text as _md

_TEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "·": r"$\cdot$",
    "–": "--",
    "\N{NO-BREAK SPACE}": "~",
}

_SPACES = re.compile(r"[^\S\N{NO-BREAK SPACE}]+")


def all_tables(report: Report) -> Iterator[tuple[str, str, Table]]:
    """Yield the name, title and table of every section that has one, and of the runs."""
    for section in report.sections:
        if section.table:
            yield section.name, section.title, section.table
    yield "runs", "Runs", run_table(report.material, report.design)


def to_markdown(report: Report) -> str:
    """Return the report without its figures in GitHub's Markdown."""
    found, top = report.material, head(report.material, report.design, report.sections)
    lines = [f"# {_md(found.study.name)}", _md(found.study.question), f"**{_md(top.verdict)}**", _md(top.progress)]
    lines += ["\n".join(f"- {_md(each)}" for each in top.findings)]
    lines += [f"> {_md(each)}" for each in (*provenance.warnings(found), *filter(None, [top.former]))]
    lines += [f"Expected: {_md(found.study.expect)}" if found.study.expect else ""]
    lines += ["\n".join(f"- {_md(value)} {_md(what)}" for value, what in top.cost)]
    captions = {section.name: section.caption for section in report.sections}
    for name, title, table in all_tables(report):
        lines += [f"## {_md(title)}", _markdown_table(table).rstrip(), _md(captions.get(name, ""))]
    troubles = [f"- {_md(f'{each.label}: {each.state}: {each.reason}')}" for each in tables.troubles(report.design)]
    lines += ["## Runs without a result", "\n".join(troubles)] if troubles else []
    return "\n\n".join(filter(None, lines)) + "\n"


def to_json(report: Report) -> str:
    """Return the whole report as JSON, with each statement and its result."""
    found, top = report.material, head(report.material, report.design, report.sections)
    sections = {name: {"title": title, "rows": table.records} for name, title, table in all_tables(report)}
    statements = {name: {"sql": each.sql, "rows": list(each.rows)} for name, each in found.evidence.statements.items()}
    texts = {"name": found.study.name, "question": found.study.question, "expect": found.study.expect}
    said = {"verdict": top.verdict, "progress": top.progress, "findings": list(top.findings), "former": top.former}
    warned = {"warnings": provenance.warnings(found), "cost": dataclasses.asdict(provenance.spent(found))}
    whole = texts | said | warned | {"tables": sections, "statements": statements}
    return json.dumps(tables_as.plain(whole), indent=1, default=str, allow_nan=False) + "\n"


def to_csv(table: Table) -> str:
    """Return a table as CSV for programs: see `Table.records`. No cell is one that a spreadsheet runs."""
    return tables_as.to_csv(table.names, ([record.get(name) for name in table.names] for record in table.records))


def to_latex(table: Table, title: str) -> str:
    """Return a table in LaTeX for booktabs."""
    left = "l" * len(table.heads)
    columns = left + "".join("l" if column in table.words else "r" for column in table.columns)
    rows = [rf"{' & '.join(map(_tex, (*row.heads, *row.cells)))} \\" for row in table.rows]
    names = rf"{' & '.join(map(_tex, (*table.heads, *table.columns)))} \\"
    comment = " ".join(title.split())
    opening = [f"% {comment}; needs \\usepackage{{booktabs}}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", names]
    return "\n".join([*opening, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", ""])


def _markdown_table(table: Table) -> str:
    figures = [column for column in table.columns if column not in table.words]
    rows = ([*row.heads, *row.cells] for row in table.rows)
    return tables_as.to_markdown((*table.heads, *table.columns), rows, right=figures)


def _tex(text: str) -> str:
    """Return a cell literally, on one line: an empty line would end the table."""
    return "".join(_TEX.get(letter, letter) for letter in _SPACES.sub(" ", text))

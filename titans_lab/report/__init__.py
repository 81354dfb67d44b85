"""A study as one HTML page that opens without a network.

A page is made in one direction:

    subject.py    what the page is about: a `Subject` of runs up to a time, which its `PageScope` can draw anew
    data.py       `Material`: the rows that the store has of these runs, read by SQL that `evidence.py` keeps
    arms.py       `Design`: the arms, the factor along x, and which arm is compared with which
    sections.py   the sections that this material and design call for, each in a file of its own
    head.py       the answer at the top, and verdicts.py the words of each comparison
    render.py     the HTML; formats.py and images.py the other formats; check.py draws a page again and compares

Figures go through plot.py, tables through tables.py.
"""

from titans_lab.report.render import (
    Report,
    page,
    recorded_report,
    render,
    runs_report,
    store_report,
    study_report,
    write,
)

__all__ = ["Report", "page", "recorded_report", "render", "runs_report", "store_report", "study_report", "write"]

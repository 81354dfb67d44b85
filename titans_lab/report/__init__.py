"""A study as one HTML page that opens without a network."""

from titans_lab.report.render import Report, page, render, runs_report, store_report, study_report, write

__all__ = ["Report", "page", "render", "runs_report", "store_report", "study_report", "write"]

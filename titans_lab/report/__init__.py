"""A study as one HTML page that opens without a network."""

from titans_lab.report.render import render, write_report

__all__ = ["render", "write_report"]

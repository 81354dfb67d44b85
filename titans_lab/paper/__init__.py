"""The results that the paper reports: its tables as data, in results.toml, each with its source."""

from titans_lab.paper.tables import PaperTable, tables

__all__ = ["PaperTable", "tables"]

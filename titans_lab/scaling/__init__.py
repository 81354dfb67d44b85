"""Scaling laws through the runs of a study, from what the store holds."""

from titans_lab.scaling.fitting import Against, fitted, scaling, scalings, sql
from titans_lab.scaling.found import Fitted, IsoFlop, Optimum, Scaling

__all__ = ["Against", "Fitted", "IsoFlop", "Optimum", "Scaling", "fitted", "scaling", "scalings", "sql"]

"""Scaling laws through the runs of a study, from what the store holds."""

from titans_lab.scaling.fitting import fitted, scaling, scalings, sql
from titans_lab.scaling.found import Fitted, IsoFlop, Optimum, Scaling

__all__ = ["Fitted", "IsoFlop", "Optimum", "Scaling", "fitted", "scaling", "scalings", "sql"]

"""Titans: neural long-term memory that learns at test time (arXiv 2501.00663), for PyTorch.

`titans.ops` has functions on tensors, `titans.mixers` sequence mixers over them, `titans.models` whole models.
Configurations, costs and specifications of mixers import no torch, so that a tool can compare thousands of models in a
second.
"""

#: Versions that are raised when a model or an operator gives other numbers for the same configuration.
VERSIONS = {"model": 2, "operator": 1}

"""Titans: neural long-term memory that learns at test time (arXiv 2501.00663), for PyTorch.

The top level imports no torch, so that a tool can size and compare configurations in milliseconds;
`titans.ops`, `titans.mixers` and `titans.models` hold what computes.
"""

#: Raised when the numbers that a model or an operator gives for the same configuration change.
VERSIONS = {"model": 2, "operator": 1}

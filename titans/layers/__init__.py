"""Sequence mixers, one a file: `[batch, time, dim]` to the same, each output a function of its past alone."""

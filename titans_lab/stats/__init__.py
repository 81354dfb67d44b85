"""Statistics of text and of runs: numpy and scipy, no torch."""

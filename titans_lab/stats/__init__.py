"""Statistics of texts and of runs, with numpy and scipy and without torch."""

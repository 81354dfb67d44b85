"""Turn a study file into the list of its runs, without torch."""

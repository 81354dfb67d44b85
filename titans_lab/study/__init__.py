"""From a study file to the list of its runs: pure, fast, without torch."""

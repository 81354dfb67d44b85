"""The names of the views, apart from their columns so that `--help` is fast."""

VIEW_NAMES = (
    "runs", "metrics", "memory", "evals", "failures", "studies", "ngram_baselines", "benches", "trials", "finalists",
    "differences",
)  # fmt: skip

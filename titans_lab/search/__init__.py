"""Searches for hyperparameters: one coordinator asks and tells Optuna, and every trial is an ordinary run, or some."""

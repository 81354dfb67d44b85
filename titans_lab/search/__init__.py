"""Search hyperparameters: one coordinator asks Optuna for trials, and each trial is one ordinary run or several."""

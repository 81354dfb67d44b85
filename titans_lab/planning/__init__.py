"""Predict the cost of a study from the store's runs, and name what is new about its runs."""

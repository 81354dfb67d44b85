"""The tasks that models are trained on and measured by. Each task is a folder."""

"""Measure the speed of models against a baseline, and record it.

`step`, `peer` and `__main__` import torch and run in a process of their own, `python -m titans_lab.bench`, which
measures one pair.
"""

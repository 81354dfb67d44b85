"""Verify on this machine that the fast forms agree with their reference implementations.

`draw`, `checks` and `__main__` import torch and run in a process of their own, `python -m titans_lab.verify`.
"""

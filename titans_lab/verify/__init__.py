"""Verify on this machine that the fast forms give what their reference implementations give.

`draw`, `checks` and `__main__` import torch and run in a process of their own, `python -m titans_lab.verify`.
"""

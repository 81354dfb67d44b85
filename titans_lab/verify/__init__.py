"""Whether the fast forms give what the slow ones give, on this machine: what is checked, where, what the store keeps.

`draw`, `checks` and `__main__` import torch and run in a process of their own, `python -m titans_lab.verify`.
"""

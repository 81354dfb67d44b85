"""How fast models are beside a baseline: what is measured against what, and the record of it.

`step`, `peer` and `__main__` import torch and run in a process of their own, `python -m titans_lab.bench`, a pair each.
"""

"""The records of runs.

Files are the truth: each run has a folder, which is written atomically. Any database over them is disposable.

Workers and the coordinator write through `folder` and `recorder`. Everybody reads through `query`.
"""

"""The records of runs. Files are the truth: a folder per run, written atomically; any database over them is disposable.

`folder` and `recorder` are what workers and the coordinator write with; `query` is how everybody reads.
"""

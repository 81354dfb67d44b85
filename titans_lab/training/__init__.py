"""Train a run inside a worker: the trainer, its optimiser, checkpoints, micro-batches, and the worker process."""

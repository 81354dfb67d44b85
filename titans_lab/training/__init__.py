"""What runs inside a worker: the trainer, its optimiser, checkpoints, micro-batches, and the process around it."""

"""Pure functions on tensors, no modules, no configuration: an operator a folder, a naive form beside each fast one."""

from titans.ops.neural_memory import MemoryState, naive_neural_memory, neural_memory, read_memory

__all__ = ["MemoryState", "naive_neural_memory", "neural_memory", "read_memory"]

"""The neural long-term memory: an MLP trained by gradient descent with momentum and forgetting while it is read.

Paper: arXiv 2501.00663, section 3. `neural_memory` is the chunk-parallel closed form, `naive_neural_memory` the
same function token by token with the inner gradients taken by autograd: the oracle of every faster form.
"""

from titans.ops.neural_memory.dispatch import neural_memory
from titans.ops.neural_memory.mlp import read_memory
from titans.ops.neural_memory.naive import naive_neural_memory
from titans.ops.neural_memory.state import MemoryState

__all__ = ["MemoryState", "naive_neural_memory", "neural_memory", "read_memory"]

"""The neural long-term memory: an MLP trained by gradient descent with momentum and forgetting while it is read.

Paper: arXiv 2501.00663, section 3. `neural_memory` is the chunk-parallel closed form. `naive_neural_memory` is the same
function token by token with the inner gradients by autograd, the reference of every faster form. A call goes one way:

    dispatch.py      neural_memory: checks (checks.py), the kernel (kernels.py), the layout
    autograd.py      the differentiable operation, and what it keeps for its backward pass
    scan.py          chunk after chunk; in its place compiled.py, the CPU kernel (cpu/), or Triton's (triton/)
    chunk.py         one chunk, forward and backward; in its place linear.py, at chunk_size 1, or muon.py

Beside this path are the memory as a function of its weights (mlp.py) and its objective (objective.py), the gate
coefficients (coefficients.py) and the window (window.py), the state and the switches (state.py), and the memory
diagnostics (diagnostics.py).
"""

from titans.ops.neural_memory.dispatch import neural_memory
from titans.ops.neural_memory.mlp import read_memory
from titans.ops.neural_memory.naive import naive_neural_memory
from titans.ops.neural_memory.state import MemoryState

__all__ = ["MemoryState", "naive_neural_memory", "neural_memory", "read_memory"]

"""What a model costs, in closed form and without torch: parameters, FLOPs and the size of a stream's state.

FLOPs are those of the matrix products and convolutions as they are executed (a multiply-add is two), and of Mamba's
recurrence the two multiply-adds a number of state that it takes token by token; estimates in papers leave out what
these include, such as the half of a causal mask that is computed and thrown away.
"""

from titans.cost.model import forward_flops, parameters, state_bytes, train_flops_per_token

__all__ = ["forward_flops", "parameters", "state_bytes", "train_flops_per_token"]

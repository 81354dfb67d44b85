"""Memory as layer (MAL): sliding-window attention over the memory's output."""

from __future__ import annotations

from titans.mixers.attention_cost import ATTENTION_READS, attention_parameters
from titans.mixers.lmm import READS, canonical_persistent, lmm_parameters, torch_only
from titans.mixers.mag import parallel_products, parallel_state
from titans.mixers.spec import MixerSpec

WRITES_PERSISTENT = True  # the default of `persistent_written`: the paper's sequence begins with these tokens

MIXER = MixerSpec(
    name="mal",
    family="Titans",
    summary="memory as layer: sliding-window attention over the memory's output",
    source="Titans (arXiv 2501.00663), section 4.3",
    layer="titans.mixers.mal.layer:MemoryAsLayer",
    state="titans.mixers.mal.layer:LayerStream",
    torch_only=torch_only,
    reads=READS | ATTENTION_READS | {"persistent_written", "window"},
    head_multiple=2,
    canonical=lambda config, values: canonical_persistent(config, values, WRITES_PERSISTENT),
    reference="titans.mixers.lmm.layer:write_token_by_token",
    parameters=lambda config: lmm_parameters(config) + attention_parameters(config) + config.dim,
    multiply_adds=parallel_products,
    state_size=parallel_state,
    golden_loss=6.746511,
)

"""Language models of `titans.models` under Hugging Face's transformers. Importing this package registers them.

`AutoModelForCausalLM.from_pretrained` then loads a folder that `titans-lab export RUN --to hf FOLDER` wrote, and
`AutoModelForCausalLM.from_config(TitansConfig.of(config))` builds a new model. It needs torch and transformers alone.
"""

from transformers import AutoConfig, AutoModelForCausalLM

from titans.hf.configuration import TitansConfig
from titans.hf.model import StreamCache, TitansForCausalLM

AutoConfig.register(TitansConfig.model_type, TitansConfig)
AutoModelForCausalLM.register(TitansConfig, TitansForCausalLM)

__all__ = ["StreamCache", "TitansConfig", "TitansForCausalLM"]

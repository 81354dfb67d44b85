"""A language model with the interface of transformers: `forward`, cache and `generate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from titans.hf.configuration import TitansConfig
from titans.mixers.parts import Linear
from titans.models.language_model import LanguageModel, ModelState


class StreamCache(Cache):
    """The state of a model after the tokens that it has read. Its size is constant for all but full attention.

    Attributes:
        state: The state. None: no token was read.
        read: The number of tokens that were read, of each sequence.
        batch: The number of sequences. 0: no token was read.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.reset()

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the number of tokens that were read."""
        return self.read

    def reset(self) -> None:
        """Forget all tokens."""
        self.state: ModelState | None = None
        self.read = self.batch = 0

    def follow(self, state: ModelState, batch: int, tokens: int) -> None:
        """Keep the state after so many more tokens of each of `batch` sequences."""
        self.state, self.batch = state, batch
        self.read += tokens

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Take the states of the sequences `[batch]`, as beam search does."""
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep the states of the sequences whose numbers are given, `[batch]`."""
        self._map(lambda tensor: tensor.index_select(0, indices.to(tensor.device)), len(indices))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat the state of each sequence."""
        self._map(lambda tensor: tensor.repeat_interleave(repeats, 0), self.batch * repeats)

    def _map(self, change: Callable[[Tensor], Tensor], batch: int) -> None:
        """Change the tensors of the sequences, of which there are then `batch`. What all share stays as it is."""
        self.state = _mapped(self.state, lambda tensor: change(tensor) if tensor.shape[0] == self.batch else tensor)
        self.batch = batch


def _mapped(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return nested tuples with every tensor changed."""
    if isinstance(state, Tensor):
        return change(state)
    if not isinstance(state, tuple):
        return state
    parts = [_mapped(each, change) for each in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


class TitansForCausalLM(PreTrainedModel, GenerationMixin):
    """A `LanguageModel`, whose parameters are under `model`.

    A memory reads every token, so padding stands behind the tokens of a sequence, never before or between them.
    """

    config_class = TitansConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _tied_weights_keys = {"model.embedding.weight": "model.head.weight"}  # noqa: RUF012  as transformers declares it
    _is_stateful = True  # no way back to an earlier token, as assisted decoding would need

    def __init__(self, config: TitansConfig) -> None:
        super().__init__(config)
        with torch.device("cpu"):  # not on the meta device, where constants would be lost: no file holds them
            self.model = LanguageModel(config.model)
        self._constants = {
            module: {name: buffer.clone() for name, buffer in module.named_buffers(recurse=False)}
            for module in self.model.modules()
        }
        self.post_init()

    @classmethod
    def of(cls, model: LanguageModel, **more: Any) -> TitansForCausalLM:
        """Return a model with copies of another one's parameters; `more` are fields of its configuration."""
        made = cls(TitansConfig.of(model.config, **more))
        made.model.load_state_dict(model.state_dict())
        return made.eval()

    def _init_weights(self, module: nn.Module) -> None:
        """Restore the constants. The parameters have their initial values, or those of a file, already."""
        for name, value in self._constants.get(module, {}).items():
            getattr(module, name).copy_(value)

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # `forward` makes a `StreamCache`

    def get_input_embeddings(self) -> nn.Module:
        """Return the embedding."""
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the embedding."""
        self.model.embedding = value

    def get_output_embeddings(self) -> nn.Module:
        """Return the projection to logits."""
        return self.model.head

    def set_output_embeddings(self, new_embeddings: Linear) -> None:
        """Replace the projection to logits."""
        self.model.head = new_embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: StreamCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **more: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Return the logits of the next tokens, and the cache after the tokens.

        Args:
            input_ids: The next tokens, `[batch, time]`.
            attention_mask: 1 for a token, 0 for padding, `[batch, time]`; also of the tokens before.
            cache: What was read before, which is brought up to date. None: nothing.
            inputs_embeds: Embedded tokens `[batch, time, dim]` in place of `input_ids`.
            labels: Tokens `[batch, time]` for the loss, which shifts them; -100 where there is none.
            use_cache: Whether to return a cache. Default: in evaluation mode.
            logits_to_keep: Return the logits of the last tokens only, or of these positions. 0: of all.
            return_dict: Whether to return an object, not a tuple. Default: yes.
            more: Arguments of the loss.

        Raises:
            ValueError: There is padding before a token, or not exactly one of tokens and embedded tokens.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("input_ids, inputs_embeds: give exactly one of the two")
        _check_padding(attention_mask)
        x = self.model.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if cache is None and (not self.training if use_cache is None else use_cache):
            cache = StreamCache()
        x, state = self.model.hidden(x, None if cache is None else cache.state)
        if cache is not None:
            cache.follow(state, *x.shape[:2])
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.model.head(x[:, kept])
        loss = None if labels is None else self.loss_function(logits, labels, self.config.vocab_size, **more)
        found = CausalLMOutputWithPast(loss=loss, logits=logits, cache=cache)
        return found if return_dict is not False else found.to_tuple()

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, cache: StreamCache | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the arguments of `forward` for those of the tokens `[batch, time]` that the cache has not read."""
        read = 0 if cache is None else cache.read
        names = ("attention_mask", "use_cache", "logits_to_keep")
        kept = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        return {"input_ids": input_ids[:, read:], "cache": cache, **kept}


def _check_padding(mask: Tensor | None) -> None:
    """Raise ValueError where padding stands before a token."""
    if mask is not None and mask.shape[-1] > 1 and bool((mask[:, 1:] > mask[:, :-1]).any()):
        raise ValueError(
            "attention_mask: padding before a token, which a model with a state would read; pad at the right, and "
            "generate from prompts of one length, or one by one"
        )

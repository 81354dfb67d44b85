"""A run's tokenizer as one of Hugging Face's."""

from __future__ import annotations

import tokenizers
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from titans_lab.data.tokenizer import BYTES, END_OF_TEXT, SEPARATOR, BpeTokenizer, Tokenizer, byte_letters


def as_library(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Return a tokenizer that gives the same tokens, with the token between two documents as its end of a sequence.

    A BPE reads the letters `<|endoftext|>` in a text as that token, as all of Hugging Face's do, and not as letters.
    """
    if isinstance(tokenizer, BpeTokenizer):
        end, model = END_OF_TEXT, models.BPE(tokenizer.vocabulary, list(tokenizer.merges))
    else:
        end, model = _bytes()
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=tokenizer is not BYTES)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=end, pad_token=end, padding_side="right", clean_up_tokenization_spaces=False
    )


def _bytes() -> tuple[str, models.BPE]:
    """Return the end of a text, a zero byte, and a BPE without merges whose tokens are the values of bytes.

    The zero byte stands for itself, not for the letter that GPT-2 writes it with: that letter may be in a text.
    """
    end = SEPARATOR.decode()
    letters = {letter: value for letter, value in byte_letters().items() if value != SEPARATOR[0]}
    return end, models.BPE({end: SEPARATOR[0]} | letters, [])

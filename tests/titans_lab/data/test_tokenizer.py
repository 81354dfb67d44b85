"""A tokenizer that came from elsewhere is what its file says, or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from titans_lab.data.prepare import Request, prepare
from titans_lab.data.prepared import read_manifest, read_tokenizer
from titans_lab.data.sources import Source
from titans_lab.data.tokenizer import END_OF_TEXT, from_definition, read_bpe, read_tokenizer_json
from titans_lab.errors import UserError

#: The letters that GPT-2 writes bytes with: printable bytes as themselves, the others from U+0100 on.
PRINTING = [chr(byte) for byte in range(256) if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174]
LETTERS = [*PRINTING, *(chr(256 + place) for place in range(256 - len(PRINTING)))]


def numbered(*tokens: str) -> dict[str, int]:
    """A vocabulary of the 256 bytes and further tokens."""
    return {token: number for number, token in enumerate([*LETTERS, *tokens])}


GOOD = numbered("th", "the", END_OF_TEXT)
MERGES = [["t", "h"], ["th", "e"]]
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("vocabulary", "merges", "wrong"),
    [
        (DEEP, "t h", "vocab.json, .*merges.txt: not a BPE's vocabulary and merges"),
        ('{"a":' * 100_000, "t h", "vocab.json, .*merges.txt: not a BPE's vocabulary and merges"),
        (numbered("th", "", END_OF_TEXT), "t h", "vocab.json: has a token of no bytes"),
        (GOOD | {"th": True}, "t h", "vocab.json: not a vocabulary"),
        (GOOD | {"the": 257.0}, "t h", "vocab.json: not a vocabulary"),
        (GOOD | {"\ud800": len(GOOD)}, "t h", r"vocab.json: '\\ud800' is not in the letters"),
        (numbered("<|endoftext|", END_OF_TEXT), "<|endoftext| >", r"merges.txt:1: merges letters of a text to <\|endo"),
        (numbered(END_OF_TEXT, END_OF_TEXT + "t"), f"{END_OF_TEXT} t", "merges.txt:1: merges letters of a text to"),
        (GOOD, "t h\r\n", r"merges.txt:1: not two tokens of the vocabulary that make a third: 't h\\r'"),
    ],
)
def test_gpt_2_s_files_from_elsewhere_are_not_believed(tmp_path: Path, vocabulary: Any, merges: str, wrong: str):
    paths = tmp_path / "vocab.json", tmp_path / "merges.txt"
    paths[0].write_text(vocabulary if isinstance(vocabulary, str) else json.dumps(vocabulary))
    paths[1].write_bytes(merges.encode())
    with pytest.raises(UserError, match=wrong):
        read_bpe("gpt2", *paths)


#: The parts of a tokenizer.json, as the package `tokenizers` writes them.
JSON: dict[str, Any] = {
    "version": "1.0",
    "added_tokens": [{"id": GOOD[END_OF_TEXT], "content": END_OF_TEXT, "special": True}],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "model": {
        "type": "BPE",
        "dropout": None,
        "vocab": {token: number for token, number in GOOD.items() if token != END_OF_TEXT},
        "merges": MERGES,
    },
}


def of_model(**changes: Any) -> dict[str, Any]:
    return JSON | {"model": JSON["model"] | changes}


@pytest.mark.parametrize("merges", [MERGES, ["t h", "th e"]], ids=["pairs", "texts"])
def test_a_tokenizer_json_has_the_tokenizer_of_its_definition(tmp_path: Path, merges: Any):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(of_model(merges=merges)))
    expected = from_definition("mine", {"type": "bpe", "vocabulary": GOOD, "merges": MERGES}, "here")
    assert read_tokenizer_json(path).digest == expected.digest


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (DEEP, "not the tokenizer.json of a BPE"),
        ("{}", "not the tokenizer.json of a BPE"),
        ([], "not the tokenizer.json of a BPE"),
        (of_model(vocab=[["a", 0.5]]), "not the tokenizer.json of a BPE"),
        (JSON | {"normalizer": {"type": "NFC"}}, "its normalizer changes texts"),
        (JSON | {"pre_tokenizer": {"type": "Whitespace"}}, "cuts texts otherwise than GPT-2's"),
        (JSON | {"pre_tokenizer": JSON["pre_tokenizer"] | {"add_prefix_space": True}}, "cuts texts otherwise"),
        (of_model(ignore_merges=True), r"merges otherwise than GPT-2's BPE \(ignore_merges\)"),
        (JSON | {"added_tokens": []}, r"has no <\|endoftext\|>"),
        (of_model(merges=[["t", "h"], ["q", "q"]]), "merge 2: not two tokens of the vocabulary that make a third"),
        (of_model(merges=[7]), "not the tokenizer.json of a BPE"),
        (JSON | {"added_tokens": [{"id": 3, "content": END_OF_TEXT}]}, "not a vocabulary"),
    ],
)
def test_a_tokenizer_json_that_would_not_be_ours_is_refused_by_its_name(tmp_path: Path, content: Any, wrong: str):
    path = tmp_path / "tokenizer.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UserError, match=f"tokenizer.json: {wrong}"):
        read_tokenizer_json(path)


@pytest.mark.parametrize(
    "definition",
    [
        [],
        None,
        7,
        {"vocabulary": GOOD, "merges": MERGES},
        {"type": "wordpiece", "vocabulary": GOOD, "merges": MERGES},
        {"type": "bpe", "vocabulary": GOOD, "merges": MERGES, "normalizer": "lowercase"},
        {"type": "bytes", "normalizer": "lowercase"},
    ],
)
def test_a_tokenizer_of_another_version_is_refused(definition: Any):
    with pytest.raises(UserError, match="here: not a tokenizer that this version of titans-lab knows"):
        from_definition("gpt2", definition, "here")


def test_a_tokenizer_is_read_from_its_definition():
    definition = {"type": "bpe", "vocabulary": GOOD, "merges": MERGES}
    tokenizer = from_definition("gpt2", definition, "here")
    assert tokenizer.definition == definition
    assert tokenizer.decode([LETTERS.index("a"), GOOD["the"], GOOD[END_OF_TEXT]]) == b"athe\0"


@pytest.mark.parametrize("content", [DEEP, "[]", "null", '{"type": "bytes", "later": 1}', ""])
def test_what_is_in_the_place_of_a_prepared_folder_s_tokenizer_is_named(tmp_path: Path, content: str):
    text, folder = tmp_path / "text.txt", tmp_path / "tokens"
    text.write_text("The memory learns at test time. " * 40)
    prepare(Request(Source(str(text))), folder, lambda *_: None)
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=r"tokens/tokenizer\.json: missing or damaged .*; prepare the data again"):
        read_tokenizer(folder, read_manifest(folder))

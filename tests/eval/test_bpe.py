"""BPE with the package `tokenizers`, and studies on its tokens."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from draws import python_random
from extras import extra, shared
from workbench import Workbench, run
from workbench import run as run_command

from titans_lab.data import prepare as making
from titans_lab.data.corpus import load_corpus, trained_tokenizer
from titans_lab.data.prepare import Request, prepare
from titans_lab.data.prepared import Manifest, map_part, read_tokenizer
from titans_lab.data.sources import Source, documents
from titans_lab.data.tokenizer import END_OF_TEXT, BpeTokenizer, read_bpe, read_tokenizer_json, train_bpe
from titans_lab.errors import UserError
from titans_lab.tasks.task import build_task
from titans_lab.tasks.text.task import TextTask

tokenizers = extra("tokenizers")

WORDS = ["memory", "surprise", "gradient", "für", "€uro", "don't", "2026", "x", "...", "<|endoftext|>", "日本語"]
SPACES = [" ", " ", " ", "  ", "\n", "\n\n", "\t", " \n", "\u00a0", " \u2003 ", ""]
SMALL = "bpe:300"


def text(size: int, draw: random.Random | None = None) -> str:
    draw = draw or random.Random(0)
    return "".join(draw.choice(WORDS) + draw.choice(SPACES) for _ in range(size))


def made(folder: Path, content: str, **options: Any) -> Manifest:
    source = folder.with_suffix(".txt")
    source.write_text(content)
    return prepare(Request(Source(str(source)), **{"tokenizer": SMALL, **options}), folder, lambda *_: None)[0]


def small() -> BpeTokenizer:
    return train_bpe("bpe:320", 320, [text(500).encode()])


def test_decoding_restores_the_text_and_widths_sum_to_its_bytes():
    tokenizer = small()
    for _ in range(20):
        content = text(50, python_random())
        tokens = tokenizer.encode(content)
        assert tokenizer.decode(tokens) == content.encode()
        assert tokenizer.widths[tokens].sum() == len(content.encode())
        assert tokenizer.end not in tokens
    assert len(tokenizer.pieces) == 320
    assert tokenizer.end == 319


def test_training_gives_the_same_in_another_process():
    code = f"""
from titans_lab.data.tokenizer import END_OF_TEXT, BpeTokenizer, read_bpe, read_tokenizer_json, train_bpe
print(train_bpe("bpe:320", 320, [{text(500)!r}.encode()]).digest)
"""
    first, second = (run([sys.executable, "-c", code], PYTHONHASHSEED=str(seed)) for seed in (1, 2))
    assert first.stdout.strip() == second.stdout.strip() == small().digest, first.stderr


def test_tokens_of_blocks_are_the_tokens_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(making, "BLOCK", 23)
    monkeypatch.setattr(making, "BATCH", 200)
    content = text(3000, python_random())
    manifest = made(tmp_path / "out", content, tokenizer="bpe:400")  # enough for words with the space before them
    tokenizer = read_tokenizer(tmp_path / "out", manifest)
    train, valid = (map_part(tmp_path / "out", manifest, name) for name in ("train", "valid"))
    cut = len(tokenizer.decode(train))
    assert train.tolist() == tokenizer.encode(content.encode()[:cut].decode())
    assert valid.tolist() == tokenizer.encode(content.encode()[cut:].decode())
    assert manifest.train.bytes == cut
    assert manifest.train.text_sha256 == hashlib.sha256(content.encode()[:cut]).hexdigest()


def test_an_end_of_text_is_between_documents(tmp_path: Path):
    rows = [text(30), "<|endoftext|>", text(20)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    request = Request(Source(str(tmp_path / "rows.jsonl")), tokenizer=SMALL, valid_fraction=0.01)
    manifest, _ = prepare(request, tmp_path / "out", lambda *_: None)
    tokenizer = read_tokenizer(tmp_path / "out", manifest)
    tokens = np.concatenate([map_part(tmp_path / "out", manifest, name) for name in ("train", "valid")])
    assert (tokens == tokenizer.end).sum() == 2
    assert tokenizer.decode(tokens) == "\0".join(rows).encode()
    assert manifest.train.bytes + manifest.valid.bytes == len(tokenizer.decode(tokens))


def test_the_tokenizer_is_part_of_the_digest(tmp_path: Path):
    digests = {made(tmp_path / name, text(400), tokenizer=name).digest for name in ("bytes", "bpe:300", "bpe:310")}
    assert len(digests) == 3


GPT2 = {
    "Hello world": [15496, 995],
    "The quick brown fox jumps over the lazy dog.": [464, 2068, 7586, 21831, 18045, 625, 262, 16931, 3290, 13],
    "": [],
}


def test_the_vocabulary_of_gpt2_gives_the_published_tokens(tmp_path: Path):
    folder = shared("tokenizers")
    tokenizer = read_bpe("gpt2", folder / "gpt2_vocab.json", folder / "gpt2_merges.txt")
    for content, tokens in GPT2.items():
        assert tokenizer.encode(content) == tokens
    assert (len(tokenizer.pieces), tokenizer.end) == (50257, 50256)
    name = f"gpt2:{folder / 'gpt2_vocab.json'},{folder / 'gpt2_merges.txt'}"
    manifest = made(tmp_path / "out", "Hello world" * 40, tokenizer=name)
    assert (manifest.vocabulary, manifest.dtype) == (50257, "uint16")
    assert map_part(tmp_path / "out", manifest, "train")[:2].tolist() == [15496, 995]


def test_a_tokenizer_json_gives_the_tokens_of_the_library_that_wrote_it(tmp_path: Path):
    ours = small()
    library = tokenizers.Tokenizer(tokenizers.models.BPE(ours.vocabulary, list(ours.merges)))
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.add_special_tokens([END_OF_TEXT])
    library.save(str(tmp_path / "tokenizer.json"))
    ours = read_tokenizer_json(tmp_path / "tokenizer.json")
    content = text(400).replace(END_OF_TEXT, "") + "  €\n"  # letters of which are special there, and not here
    assert ours.encode(content) == tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(content).ids
    assert ours.decode(ours.encode(content)) == content.encode()
    manifest = made(tmp_path / "out", content, tokenizer=f"json:{tmp_path / 'tokenizer.json'}")
    assert manifest.vocabulary == len(ours.pieces)


def test_datasets_that_were_saved_to_disk_are_read_in_the_order_of_their_rows(tmp_path: Path):
    datasets = extra("datasets")
    rows = [{"text": f"document {number} €"} for number in range(50)]
    found = datasets.DatasetDict({"train": datasets.Dataset.from_list(rows).shuffle(seed=1).select(range(40))})
    found.save_to_disk(str(tmp_path / "saved"), num_shards={"train": 3})
    read = [b"".join(document).decode() for document in documents(Source(str(tmp_path / "saved" / "train")), True)]
    assert read == found["train"]["text"][:]
    with pytest.raises(UserError, match=r"a dataset with splits; name the folder of one: .*saved/train"):
        list(documents(Source(str(tmp_path / "saved")), True))


def files(tmp_path: Path, vocabulary: Any = None, merges: str | None = None) -> tuple[Path, Path]:
    tokenizer = small()
    paths = tmp_path / "v.json", tmp_path / "m.txt"
    paths[0].write_text(json.dumps(tokenizer.vocabulary if vocabulary is None else vocabulary))
    paths[1].write_text(merges or "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in tokenizer.merges))
    return paths


def test_a_tokenizer_is_read_from_two_files(tmp_path: Path):
    assert read_bpe("mine", *files(tmp_path)).digest == small().digest


@pytest.mark.parametrize(
    ("vocabulary", "merges", "complaint"),
    [
        ([1], None, r"v\.json: not a vocabulary"),
        ({"a": 0, "b": 2}, None, r"v\.json: not a vocabulary"),
        ({"a": 0}, None, r"v\.json: has no <\|endoftext\|>"),
        ({"<|endoftext|>": 0, "a": 1}, None, r"v\.json: 255 of the 256 bytes are not tokens"),
        ({"<|endoftext|>": 0, "a b": 1}, None, r"v\.json: 'a b' is not in the letters"),
        (None, "a\n", r"m\.txt:1: not two tokens"),
        (None, "#version: 1\n\nq q\n", r"m\.txt:3: not two tokens .*'q q'"),
    ],
)
def test_files_that_are_no_tokenizer_are_named(tmp_path: Path, vocabulary: Any, merges: str | None, complaint: str):
    with pytest.raises(UserError, match=complaint):
        read_bpe("mine", *files(tmp_path, vocabulary, merges))


def test_a_dataset_of_the_hub_is_streamed(tmp_path: Path):
    """From a folder, which the same function reads as it reads a repository of the hub."""
    extra("datasets")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.jsonl").write_text("".join(json.dumps({"text": f"row {n}"}) + "\n" for n in range(30)))
    request = Request(Source(f"hf:{tmp_path / 'set'}"), limit=40, valid_fraction=0.2)
    manifest, _ = prepare(request, tmp_path / "out", lambda *_: None)
    assert manifest.train.documents + manifest.valid.documents in (8, 9)
    with pytest.raises(UserError, match=r"hf:.*no-such: cannot be loaded"):
        prepare(Request(Source(f"hf:{tmp_path / 'no-such'}")), tmp_path / "other", lambda *_: None)


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A study on tokens of a BPE."""
    bench = Workbench.at(tmp_path)
    made(tmp_path / "bpe", text(2000), valid_fraction=0.2)
    study = bench.study.read_text().replace(str(bench.text), str(tmp_path / "bpe")).replace(", valid_fraction: 0.1", "")
    bench.study.write_text(study.replace("lmm, ", "lmm, vocab_size: 300, "))
    return bench


def test_a_study_on_tokens_is_judged_by_bytes(bench: Workbench):
    done = bench.call("sweep")
    assert done.returncode == 0, done.stderr
    [run], config = bench.ask("select run_id, loss, train_loss from runs"), bench.runs()[0].config
    corpus = load_corpus(config.data)
    predicted = corpus.test[1:]
    content = corpus.tokenizer.decode(predicted)
    evals = bench.ask("select metric, value, count from evals where position is null and split = 'test'")
    rows = {row["metric"]: row for row in evals}
    nats = run["loss"] * math.log(2) * len(content)
    assert rows["loss"]["count"] == len(content) > 2 * len(predicted)
    assert rows["token_perplexity"]["value"] == pytest.approx(math.exp(nats / len(predicted)))
    assert rows["token_perplexity"]["value"] < 2 * 300  # near that of a model that knows nothing
    assert run["train_loss"] == pytest.approx(run["loss"], rel=0.5)
    assert not bench.ask("select * from ngram_baselines")

    store = ("--store", str(bench.store.root))
    asked = run_command([sys.executable, "-m", "titans_lab", "eval", run["run_id"], "--lengths", "600", *store])
    assert (asked.returncode, asked.stdout) == (2, "")
    assert (
        asked.stderr == f"titans-lab: run {run['run_id']}: its tokens are not bytes; name a run with a byte tokenizer\n"
    )
    assert not bench.ask("select * from evals where evaluation is not null")


def test_a_look_inside_reads_tokens_from_the_start_of_the_held_out_text(bench: Workbench):
    [planned] = bench.runs()
    task = build_task(planned.config, 0)
    assert isinstance(task, TextTask)
    count = 2 * task.length
    window = task.inputs(count)
    assert window.shape == (2, task.length)
    assert window.flatten().tolist() == task.corpus.valid[:count].tolist()
    assert window.max() > 255


def test_the_last_tokens_are_within_valid_bytes(bench: Workbench):
    [whole] = bench.runs()
    [some] = bench.runs("data.valid_bytes=100")
    part, all_of_it = (load_corpus(run.config.data) for run in (some, whole))
    assert 90 < len(part.tokenizer.decode(part.valid)) <= 100
    assert part.valid.tolist() == all_of_it.valid[: len(part.valid)].tolist()
    assert some.data_hash == whole.data_hash
    assert some.run_id != whole.run_id


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        (
            "grid.model.vocab_size=[512, 299]",
            "model.vocab_size: 299 is below the 300 tokens of .*set model.vocab_size=300",
        ),
        ("data.valid_fraction=0.1", "data.valid_fraction: .*bpe was split when it was prepared"),
    ],
)
def test_an_override_that_does_not_fit_the_tokens_is_named(bench: Workbench, override: str, complaint: str):
    ended = bench.call("plan", override)
    assert ended.returncode == 2
    assert re.search(complaint, ended.stderr)


def test_a_trained_run_finds_its_tokenizer_while_it_is_there(bench: Workbench, tmp_path: Path):
    [run] = bench.runs()
    assert len(trained_tokenizer(run.config.data, run.config.model.vocab_size, run.data_hash).pieces) == 300
    with pytest.raises(UserError, match=r"bpe is not what the run was trained on"):
        trained_tokenizer(run.config.data, run.config.model.vocab_size, "0" * 64)
    (tmp_path / "bpe").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"bpe is gone, and with it the run's tokenizer"):
        trained_tokenizer(run.config.data, run.config.model.vocab_size, run.data_hash)

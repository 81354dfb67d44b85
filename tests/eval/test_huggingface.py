"""A run exported for transformers is the same function there: logits, cache, generation, tokens, lm-eval's figures."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from extras import extra
from pages import ROOT, blocks
from workbench import Workbench
from workbench import run as run_command

from titans.mixers import variants
from titans.models.config import ModelConfig, from_plain, plain
from titans.models.generation import generate
from titans.models.language_model import LanguageModel
from titans_lab.data.tokenizer import BYTES, train_bpe
from titans_lab.errors import UserError
from titans_lab.evaluation.trained import Trained, load_run
from titans_lab.harness.evaluate import OFFLINE

os.environ.update(dict.fromkeys(OFFLINE, "1"))  # before transformers is imported
transformers = extra("transformers")
pytestmark = pytest.mark.filterwarnings("default")  # of transformers' own

TEXTS = ["", "\0a\0\0b", "é\u0100 \N{PILE OF POO}\r\n\t  two  spaces", bytes(range(128)).decode(), "the memory\0learns"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A study of two seeds that was swept."""
    bench = Workbench.at(tmp_path_factory.mktemp("bench"))
    assert bench.call("sweep", "seeds=2").returncode == 0
    return bench


@pytest.fixture(scope="module")
def trained(bench: Workbench) -> Trained:
    return load_run(bench.store, bench.runs("seeds=2")[0].run_id)


@pytest.fixture(scope="module")
def folder(bench: Workbench, trained: Trained) -> Path:
    """The first run, as the command exports it."""
    folder = bench.root / "hub" / "tiny"
    ended = export(bench, trained.run_id[:8], "--to", "hf", str(folder))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{folder}: README.md, config.json, generation_config.json, model.safetensors")
    return folder


def export(bench: Workbench, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [part for part in bench.command("export", *arguments) if part != str(bench.study)]
    return run_command(command)


def loaded(folder: Path) -> Any:
    import titans.hf  # noqa: F401  registers the model

    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def test_logits_and_the_loss_are_those_of_the_run(trained: Trained, folder: Path):
    model, tokens = loaded(folder), torch.randint(256, (3, 50))
    with torch.no_grad():
        found, wanted = model(tokens, labels=tokens), trained.model(tokens)
    assert found.logits.dtype == torch.float32
    assert (found.logits - wanted).abs().max() <= 1e-6
    loss = torch.nn.functional.cross_entropy(wanted[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert found.loss == pytest.approx(loss.item(), abs=1e-6)
    embedded = model(inputs_embeds=model.get_input_embeddings()(tokens), use_cache=False, logits_to_keep=2)
    assert embedded.cache is None
    assert torch.equal(embedded.logits, found.logits[:, -2:])


@pytest.mark.parametrize("variant", variants())
def test_each_mixer_is_saved_and_loaded_and_generates_from_its_cache(variant: str, tmp_path: Path):
    from titans.hf import TitansForCausalLM

    config = ModelConfig(variant=variant, dim=16, n_heads=2, n_layers=3, tie_embeddings=variant == "lmm")
    assert from_plain(json.loads(json.dumps(plain(config)))) == config
    ours, tokens = LanguageModel(config, 3).eval(), torch.randint(256, (2, 40))
    TitansForCausalLM.of(ours).save_pretrained(tmp_path)
    model = loaded(tmp_path)
    with torch.no_grad():
        wanted = ours(tokens)
        assert (model(tokens).logits - wanted).abs().max() <= 1e-6
        first = model(tokens[:, :17])
        rest = model(tokens[:, 17:], cache=first.cache)
    assert rest.cache.get_seq_length() == 40
    assert torch.allclose(torch.cat([first.logits, rest.logits], 1), wanted, atol=1e-4)
    greedy = {"max_new_tokens": 6, "do_sample": False}
    assert torch.equal(model.generate(tokens, **greedy)[:, 40:], generate(ours, tokens, 6, 0))
    beams = [model.generate(tokens, num_beams=3, use_cache=cached, **greedy) for cached in (True, False)]
    assert torch.equal(*beams)


def test_text_has_the_same_tokens_and_comes_back(folder: Path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        tokens = tokenizer(text)["input_ids"]
        assert tokens == BYTES.encode(text)
        assert tokenizer.decode(tokens) == text
    assert (tokenizer.eos_token_id, tokenizer.padding_side, len(tokenizer)) == (0, "right", 256)
    assert tokenizer.decode([*b"an end", 0], skip_special_tokens=True) == "an end"


def test_a_bpe_has_the_same_tokens(tmp_path: Path):
    from titans_lab.huggingface.tokenizer import as_library

    ours = train_bpe("bpe:300", 300, [b"the memory learns at test time, and forgets. " * 20])
    as_library(ours).save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert tokenizer(text)["input_ids"] == ours.encode(text)
        assert tokenizer.decode(ours.encode(text)) == text
    assert tokenizer("a<|endoftext|>b")["input_ids"][1] == ours.end


def test_a_text_is_generated_until_its_end_and_padding_before_it_is_refused(folder: Path):
    model, tokenizer = loaded(folder), transformers.AutoTokenizer.from_pretrained(folder)
    asked = tokenizer(["the memory", "the"], return_tensors="pt", padding=True)
    assert model(**asked).logits.shape == (2, 10, 256)
    with pytest.raises(ValueError, match="padding before a token"):
        model(asked["input_ids"], attention_mask=asked["attention_mask"].flip(1))
    one = model.generate(**tokenizer("the memory", return_tensors="pt"), max_new_tokens=8, do_sample=True)
    assert one.shape[0] == 1
    with pytest.raises(ValueError, match="exactly one"):
        model()


def test_the_page_runs(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder.parent)
    [block] = blocks(ROOT / "docs" / "huggingface.md", "python")
    names: dict[str, Any] = {}
    exec(compile(block.text, block.place, "exec"), names)
    assert names["text"].startswith("the memory ")


def test_weights_of_another_version_and_unknown_fields_are_refused(folder: Path, tmp_path: Path):
    from titans.hf import TitansConfig

    given = json.loads((folder / "config.json").read_text())
    with pytest.raises(ValueError, match="weights are of version 1 of the model"):
        TitansConfig(**given | {"model_version": 1})
    with pytest.raises(ValueError, match=r"memory\.dept: this version of titans has no such field"):
        TitansConfig({"memory": {"dept": 1}})
    with pytest.raises(ValueError, match="model: "):
        TitansConfig({"dim": "wide"})


def test_the_card_tells_the_runs_results_data_and_caveats(bench: Workbench, trained: Trained, folder: Path):
    card = (folder / "README.md").read_text()
    losses = [row["loss"] for row in bench.ask("select loss from runs order by seed")]
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert f"Run `{trained.run_id}`" in card
    assert f"| {losses[0]:.4f} | {sum(losses) / 2:.4f} |" in card
    assert trained.data_hash in card
    assert "text.txt" in card
    assert str(bench.root) not in card  # no folder of this machine
    assert "Does it run?" in card
    assert "tokens for each parameter" in card
    assert "train.tokens" not in card.split("```json")[1]  # the table has it


def test_wrong_exports_are_refused_and_leave_nothing(bench: Workbench, trained: Trained, folder: Path, tmp_path: Path):
    from titans_lab.huggingface import export as write

    for arguments, complaint in (
        ((trained.run_id, "--to", "onnx", "x"), "--to onnx: is not known"),
        (("--to", "hf", "x"), "takes one run"),
        ((trained.run_id, "--to", "hf", str(folder)), "is there already and not empty"),
    ):
        ended = export(bench, *arguments)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert complaint in ended.stderr
    with pytest.raises(UserError, match="no run in"):
        write(bench.store, "zz", tmp_path / "x")
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_lm_evals_own_command_finds_what_ours_finds(bench: Workbench, trained: Trained, folder: Path, tmp_path: Path):
    lines = (json.dumps({"goal": f"To {goal}", "sol1": f"{goal} now", "sol2": "wait", "label": 0}) for goal in GOALS)
    (tmp_path / "piqa_test.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "tiny_piqa.yaml").write_text(TASK.format(rows=tmp_path / "piqa_test.jsonl"))
    command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--tasks", "tiny_piqa", "--device", "cpu"]
    command += ["--include_path", str(tmp_path), "--output_path", str(tmp_path / "out"), "--batch_size", "4"]
    command += ["--model_args", f"pretrained={folder},trust_remote_code=True,dtype=float32"]
    ended = run_command(command, **dict.fromkeys(OFFLINE, "1"), HF_HOME=str(tmp_path / "cache"))
    assert ended.returncode == 0, ended.stderr
    [found] = (tmp_path / "out").rglob("results_*.json")
    theirs = json.loads(found.read_text())["results"]["tiny_piqa"]
    from titans_lab.harness.evaluate import evaluate
    from titans_lab.harness.model import HarnessModel

    ours = HarnessModel(trained.model, trained.tokenizer, torch.device("cpu"), batch=4)
    scores = {score.metric.name: score.value for score in evaluate(ours, "piqa", tmp_path, "test")}
    assert theirs["acc,none"] == pytest.approx(scores["acc"])
    assert math.isfinite(theirs["acc,none"])


GOALS = ("learn", "forget", "read the memory", "write", "sleep a little")
TASK = """
task: tiny_piqa
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {rows}}}}}
output_type: multiple_choice
validation_split: validation
doc_to_text: "Question: {{{{goal}}}}\\nAnswer:"
doc_to_target: label
doc_to_choice: "{{{{[sol1, sol2]}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""

"""A checkpoint is data: nothing in it runs, nothing is asked, and whatever is wrong with it is a typed error."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from mllm_avqa.cli import app
from mllm_avqa.context.asr import TransformersEngine, WhisperEngine
from mllm_avqa.model.checkpoint import open_checkpoint
from mllm_avqa.model.weights import weights_hash
from mllm_avqa.schema.card import Card
from mllm_avqa.schema.errors import CheckpointError, ContextUnavailable
from mllm_avqa.schema.files import MOST_DEPTH, read_yaml

ROOT = Path(__file__).parents[2]
EVIL = """open({mark!r}, 'w').write('x')
from transformers import PreTrainedTokenizer
class Evil(PreTrainedTokenizer): pass
"""
AUTO = ["AutoTokenizer", "AutoConfig", "AutoModel", "AutoProcessor", "AutoFeatureExtractor", "AutoModelForCausalLM"]


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.fixture
def copy(tiny_dir, tmp_path):
    return Path(shutil.copytree(tiny_dir, tmp_path / "ck"))


def put(path: Path, **more) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | more))


def plant_code(directory: Path, mark: Path) -> None:
    (directory / "evil.py").write_text(EVIL.format(mark=str(mark)))
    for file in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        put(directory / file, auto_map={n: ["evil.Evil"] * 2 if n == "AutoTokenizer" else "evil.Evil" for n in AUTO})


@pytest.mark.parametrize("unknown", [False, True])
def test_code_beside_the_weights_is_neither_run_nor_asked_about(copy, tmp_path, unknown):
    mark = tmp_path / "EXECUTED"
    plant_code(copy, mark)
    if unknown:
        put(copy / "tokenizer_config.json", tokenizer_class="Evil")
        put(copy / "config.json", model_type="evil")
    code = f"from mllm_avqa.model.checkpoint import open_checkpoint as o; o({str(copy)!r}, device='cpu')"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], input="y\n" * 9, capture_output=True, text=True, env=env)
    assert not mark.exists()
    assert "[y/N]" not in done.stdout + done.stderr
    assert done.returncode == 0 or "CheckpointError" in done.stderr, done.stderr


def test_a_speech_model_runs_nothing_either(tmp_path):
    mark = tmp_path / "EXECUTED"
    folder = tmp_path / "whisper"
    folder.mkdir()
    plant_code(folder, mark)
    with pytest.raises(ContextUnavailable):
        TransformersEngine(str(folder))
    torch.save({"dims": Bomb(mark), "model_state_dict": {}}, tmp_path / "w.pt")
    with pytest.raises(ContextUnavailable):
        WhisperEngine(tmp_path / "w.pt")
    assert not mark.exists()


def as_pickle(directory: Path) -> dict[str, torch.Tensor]:
    (file,) = directory.glob("*.safetensors")
    state = load_file(file)
    file.unlink()
    torch.save(state, directory / "pytorch_model.bin")
    return state


def test_pickled_weights_need_a_word(copy, caplog):
    as_pickle(copy)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: pickled weights can hold code.*--allow-pickle"):
        open_checkpoint(str(copy), device="cpu")
    result = CliRunner().invoke(app, ["rate", "x.mp4", "--checkpoint", str(copy)])
    assert (result.exit_code, "--allow-pickle" in result.stderr) == (2, True)
    _, _, weights = open_checkpoint(str(copy), device="cpu", allow_pickle=True)
    assert "pickled weights are loaded (--allow-pickle)" in caplog.text
    before = weights
    state = {k: v + 1 for k, v in torch.load(copy / "pytorch_model.bin", weights_only=True).items()}
    torch.save(state, copy / "pytorch_model.bin")
    assert open_checkpoint(str(copy), device="cpu", allow_pickle=True)[2] != before


def test_a_pickle_with_code_is_refused_with_the_word_too(copy, tmp_path):
    mark = tmp_path / "EXECUTED"
    as_pickle(copy)
    (copy / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Bomb(mark)}))
    with pytest.raises(CheckpointError):
        open_checkpoint(str(copy), device="cpu", allow_pickle=True)
    assert not mark.exists()


def test_the_hash_covers_what_is_loaded(copy, tmp_path, tiny_dir):
    card = Card.load(copy)
    alone = weights_hash(copy, card)
    assert alone == weights_hash(copy)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"adapter")
    on_base = card.model_copy(update={"base_model": os.path.relpath(copy, adapter)})
    before = weights_hash(adapter, on_base)
    (file,) = copy.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    changed = weights_hash(adapter, on_base)
    assert len({alone, before, changed}) == 3
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    assert weights_hash(adapter, on_base) == changed  # the same bytes under the name that would be loaded
    (adapter / "adapter_model.bin").write_bytes(b"another adapter")
    assert weights_hash(adapter, on_base) != changed
    hub = card.model_copy(update={"base_model": "them/base", "revision": "1" * 40})
    assert weights_hash(adapter, hub) != weights_hash(adapter, hub.model_copy(update={"revision": "2" * 40}))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", {"transformers_weights": "../other/model.safetensors"}),
        ("model.safetensors.index.json", {"weight_map": {"a": "/etc/x.safetensors"}}),
        ("model.safetensors.index.json", {"weight_map": []}),
        ("adapter_config.json", {"megatron_config": {"a": 1}, "megatron_core": "evil"}),
    ],
)
def test_weights_lie_in_their_folder(copy, file, content):
    put(copy / file, **content)
    with pytest.raises(CheckpointError):
        open_checkpoint(str(copy), device="cpu")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 100),
        ("config.json", b"[" * 100_000),
        ("config.json", b"\xff\xfe"),
        ("config.json", b"{}"),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer.json", b"{}"),
    ],
)
def test_spoilt_files_are_typed_errors(copy, file, content):
    (copy / file).write_bytes(content)
    with pytest.raises(CheckpointError):
        open_checkpoint(str(copy), device="cpu")


LAUGHS = "a0: &a0 [x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5000 + "]" * 5000, "nested too deep"),
        ("[" * (MOST_DEPTH + 2) + "]" * (MOST_DEPTH + 2), f"at most {MOST_DEPTH} levels"),
        ("name: &a [*a]", "nested too deep"),
        (LAUGHS, "more than 200000 values"),
        (MERGES, "more than 200000 values"),
        ("n: " + "9" * 5000, "avqa.yaml"),
        ("a: [", "avqa.yaml"),
        ("name: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        (b"name: \xff\xfe", "not UTF-8 text"),
        ("x" * 5_000_000, "more than 4000000 bytes"),
        ("", "avqa.yaml"),
    ],
)
def test_a_card_of_strangers_is_read_within_limits(copy, text, message):
    (copy / "avqa.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(str(copy), device="cpu")


def test_ordinary_aliases_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, y: [*a, *a]}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": {"x": 1}, "b": {"x": 1, "y": [{"x": 1}, {"x": 1}]}}


def test_every_load_says_that_code_is_not_trusted():
    """What is left unsaid is asked on standard input by transformers."""
    found, silent = 0, []
    for folder in ("mllm_avqa", "train", "eval", "data_recipes", "benchmarks"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
                if node.func.attr == "from_pretrained" and re.match(r"Auto|.*Tokenizer|.*Generation$", owner):
                    found += 1
                    if not any(k.arg == "trust_remote_code" for k in node.keywords):
                        silent.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert found >= 4
    assert not silent

"""Recognisers on tiny random weights: what they say is noise, how they behave is not."""

import time
from pathlib import Path

import numpy as np
import pytest

from mllm_avqa.context import gather, load_asr, resample_16k
from mllm_avqa.context.asr import OFFICIAL, Speech, TransformersEngine, WhisperEngine, heard
from mllm_avqa.media.resample import to_mono
from mllm_avqa.schema.clip import AudioTrack
from mllm_avqa.schema.errors import ConfigError, ContextUnavailable

SOUND = (0.3 * np.sin(np.arange(32000) / 8)).astype(np.float32)


@pytest.fixture(scope="session")
def whisper_file(tmp_path_factory) -> Path:
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(0)
    model = Whisper(ModelDimensions(80, 1500, 16, 2, 1, 51865, 32, 16, 2, 1))
    path = tmp_path_factory.mktemp("whisper") / "random.pt"
    torch.save({"dims": model.dims.__dict__, "model_state_dict": model.state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory) -> Path:
    import json

    import torch
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = tmp_path_factory.mktemp("hf")
    vocab = {c: i for i, c in enumerate(bytes_to_unicode().values())}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>"]
    special += [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token="<|endoftext|>")
    tokenizer.add_tokens(special, special_tokens=True)
    ids = {t: tokenizer.convert_tokens_to_ids(t) for t in special}
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_target_positions=24,
        decoder_start_token_id=ids["<|startoftranscript|>"], eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"], bos_token_id=ids["<|endoftext|>"], begin_suppress_tokens=None,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    generation = model.generation_config
    generation.lang_to_id = {"<|en|>": ids["<|en|>"], "<|zh|>": ids["<|zh|>"]}
    generation.task_to_id = {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]}
    generation.no_timestamps_token_id = ids["<|notimestamps|>"]
    generation._from_model_config = False  # else loading makes a new one without the Whisper entries
    generation.is_multilingual, generation.max_initial_timestamp_index, generation.max_length = True, 50, 24
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of whisper weights, and a network that fails the test when it is touched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def no_network(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    (tmp_path / "whisper").mkdir()
    return tmp_path / "whisper"


def well_formed(segments: list[Speech], seconds: float) -> bool:
    starts = [s.start for s in segments]
    return starts == sorted(starts) and all(0 <= s.start <= s.end <= seconds and s.text.strip() for s in segments)


def test_whisper_file_by_path(whisper_file: Path) -> None:
    engine = load_asr(str(whisper_file))
    assert isinstance(engine, WhisperEngine)
    first = engine.transcribe(SOUND)
    assert well_formed(first, 2.0)
    assert engine.transcribe(SOUND) == first  # greedy: the same twice


def test_words_have_times_and_what_was_invented_is_left_out(whisper_file: Path, monkeypatch) -> None:
    engine = load_asr(str(whisper_file))
    sure = {"avg_logprob": -0.2, "compression_ratio": 1.0, "no_speech_prob": 0.0}
    told = {
        "language": "en",
        "segments": [
            {"start": 0.5, "end": 1.25, "text": " Hello you.", "words": [
                {"word": " Hello", "start": 0.5, "end": 0.9}, {"word": " you.", "start": 0.9, "end": 1.25},
            ]} | sure,
            {"start": 1.3, "end": 1.9, "text": " Thank you.", "words": []} | sure | {"avg_logprob": -1.5},
        ],
    }  # fmt: skip
    monkeypatch.setattr(engine._model, "transcribe", lambda *a, **k: told)
    (heard_one,) = engine.transcribe(SOUND)
    assert (heard_one.text, heard_one.language) == ("Hello you.", "en")
    assert heard_one.words == ((0.5, 0.9, "Hello"), (0.9, 1.25, "you."))


def test_cached_name_is_loaded_without_network(cache: Path, whisper_file: Path) -> None:
    (cache / "tiny.pt").write_bytes(whisper_file.read_bytes())
    assert load_asr("tiny").name == "whisper"
    assert load_asr(None).name == "whisper"  # the only cached one


def test_missing_weights_say_how_to_get_them(cache: Path) -> None:
    before = time.monotonic()
    with pytest.raises(ContextUnavailable, match=r"put large-v3-turbo\.pt there.*--asr PATH") as e:
        load_asr("turbo")
    assert str(cache) in str(e.value)
    with pytest.raises(ContextUnavailable, match="--asr PATH"):
        load_asr(None)
    assert time.monotonic() - before < 1


def test_failed_download_is_unavailable_and_leaves_nothing(cache: Path, monkeypatch) -> None:
    from urllib.error import URLError

    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(ContextUnavailable, match="could not be downloaded"):
        load_asr("tiny", allow_download=True)
    assert list(cache.iterdir()) == []


def test_cache_table_is_whispers_own() -> None:
    import whisper

    assert {name: url.rsplit("/", 1)[1] for name, url in whisper._MODELS.items()} == OFFICIAL


def test_what_is_no_recogniser(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"--asr nonsense: no such file.*turbo"):
        load_asr("nonsense")
    with pytest.raises(ConfigError, match=r"--asr weights/missing\.pt"):
        load_asr("weights/missing.pt")
    with pytest.raises(ConfigError, match=r"no config\.json"):
        load_asr(str(tmp_path))
    for content in (b"", b"not a checkpoint", b"PK\x03\x04broken"):
        (tmp_path / "bad.pt").write_bytes(content)
        with pytest.raises(ContextUnavailable, match="not a whole openai-whisper checkpoint"):
            load_asr(str(tmp_path / "bad.pt"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ContextUnavailable, match="--asr PATH"):
        load_asr(str(tmp_path))


def test_repository_name_looks_at_the_disk_only(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    before = time.monotonic()
    with pytest.raises(ContextUnavailable, match="'nobody/whisper-none'"):
        load_asr("nobody/whisper-none")
    assert time.monotonic() - before < 15


def test_transformers_folder(whisper_folder: Path) -> None:
    engine = load_asr(str(whisper_folder))
    assert isinstance(engine, TransformersEngine)
    first = engine.transcribe(SOUND)
    assert well_formed(first, 2.0) and engine.transcribe(SOUND) == first
    long = np.tile(SOUND, 16)  # 32 s: two of Whisper's windows
    assert well_formed(engine.transcribe(long), 32.0)


class Script:
    name = "script"
    heard: np.ndarray | None = None

    def transcribe(self, audio: np.ndarray) -> list[Speech]:
        self.heard = audio
        return [Speech(0.5, 1.0, "hello"), Speech(1.0, 1.5, "world")]


def test_times_are_on_the_clips_clock(make_clip, clip_path, status) -> None:
    engine = Script()
    clip = make_clip(audio=np.full((2, 96000), 0.5), rate=48000, audio_start=3.0, window=(3.0, 5.0))
    context = gather(clip_path, clip, level="full", asr=engine)
    assert engine.heard is not None and engine.heard.shape == (32000,) and engine.heard.dtype == np.float32
    assert [(i.text, i.start, i.end, i.detail) for i in context.items] == [
        ("hello", 3.5, 4.0, "engine=script"),
        ("world", 4.0, 4.5, "engine=script"),
    ]
    assert status(context, "asr") == ("ok", "")


def test_fast_skips_speech_and_silence_is_not_transcribed(make_clip, clip_path, status) -> None:
    engine = Script()
    speaking = make_clip(audio=np.full((1, 16000), 0.5))
    assert status(gather(clip_path, speaking, asr=engine), "asr")[0] == "skipped"
    silent = gather(clip_path, make_clip(audio=np.zeros((1, 16000))), level="full", asr=engine)
    assert status(silent, "asr") == ("absent", "the sound is silent")
    assert engine.heard is None


def test_no_weights_is_a_status(make_clip, clip_path, status, cache: Path) -> None:
    context = gather(clip_path, make_clip(audio=np.full((1, 16000), 0.5)), level="full")
    state, detail = status(context, "asr")
    assert state == "unavailable" and "--asr PATH" in detail


def test_resampling_keeps_tones_and_drops_what_16k_cannot_hold() -> None:
    t = np.arange(48000) / 48000
    low, high = np.sin(2 * np.pi * 1000 * t), np.sin(2 * np.pi * 12000 * t)
    out = resample_16k(AudioTrack(np.stack([low + high, low - high]).astype(np.float32), 48000, 0.0))
    assert out.shape == (16000,) and out.dtype == np.float32
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)  # analytic
    assert np.max(np.abs(out - expected)[100:-100]) < 2e-3
    assert np.sqrt(np.mean(to_mono(high, 48000)[100:-100] ** 2)) < 1e-3  # 12 kHz would alias to 4 kHz


def test_resampling_odd_inputs() -> None:
    assert to_mono(np.zeros((2, 0)), 44100).shape == (0,)
    assert to_mono(np.ones((1, 44100)), 44100).shape == (16000,)
    np.testing.assert_array_equal(to_mono(np.array([[1.0, np.nan, np.inf]]), 16000), np.float32([1, 0, 0]))
    with pytest.raises(ValueError, match="rate=0"):
        to_mono(np.zeros((1, 4)), 0)
    with pytest.raises(ValueError, match=r"\(0, 5\)"):
        to_mono(np.zeros((0, 5)), 8000)


@pytest.mark.parametrize(
    ("segment", "kept"),
    [
        ({"text": " Hello there.", "avg_logprob": -0.3, "compression_ratio": 1.2, "no_speech_prob": 0.1}, True),
        ({"text": " Thank you.", "avg_logprob": -0.9, "compression_ratio": 0.8, "no_speech_prob": 0.9}, False),
        ({"text": " the the the the", "avg_logprob": -0.2, "compression_ratio": 3.0, "no_speech_prob": 0.1}, False),
        ({"text": " mumble", "avg_logprob": -1.4, "compression_ratio": 1.0, "no_speech_prob": 0.1}, False),
        ({"text": " [Music]", "avg_logprob": -0.2, "compression_ratio": 0.6, "no_speech_prob": 0.1}, False),
        ({"text": " ♪♪", "avg_logprob": -0.2, "compression_ratio": 0.6, "no_speech_prob": 0.1}, False),
        ({"text": " 你好。", "avg_logprob": -0.5, "compression_ratio": 0.6, "no_speech_prob": 0.1}, True),
    ],
)
def test_invented_words_are_left_out(segment, kept):
    assert heard(segment) is kept

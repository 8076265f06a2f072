"""Speech to text: one small protocol and two Whisper engines that only ever read local files unless told otherwise."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from mllm_avqa.bases import have
from mllm_avqa.media.resample import to_mono
from mllm_avqa.schema.clip import AudioTrack
from mllm_avqa.schema.errors import ConfigError, ContextUnavailable

RATE = 16000  # Hz, what Whisper hears
CHUNK = 30 * RATE  # samples, its fixed window
DOWNLOAD_TIMEOUT = 20.0  # seconds of silence on the line, only when a download was asked for
# Official names of openai-whisper and the files of its cache, kept here because importing whisper takes seconds.
_SIZES = ("tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en")
_LARGE = ("large-v1", "large-v2", "large-v3", "large-v3-turbo")
OFFICIAL = {n: f"{n}.pt" for n in _SIZES + _LARGE} | {"large": "large-v3.pt", "turbo": "large-v3-turbo.pt"}
# Without a name: the first of these whose weights lie in the cache; exact enough and still bearable on a CPU.
BASE = "whisper-base"  # of `bases`
BASE_DIMENSIONS = {
    "n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 512, "n_audio_head": 8, "n_audio_layer": 6,
    "n_vocab": 51865, "n_text_ctx": 448, "n_text_state": 512, "n_text_head": 8, "n_text_layer": 6,
}  # fmt: skip
LEAST_LOGPROB, SURE_LOGPROB, MOST_REPETITION, MOST_NO_SPEECH = -1.0, -0.6, 2.4, 0.6  # `heard`
PREFERRED = ("small", "base", "turbo", "tiny", "medium", "large-v3", "small.en", "base.en", "tiny.en", "medium.en")


@dataclass(frozen=True)
class Speech:
    """One stretch of speech; seconds from the first sample. words: (start, end, word), where the engine times them."""

    start: float
    end: float
    text: str
    language: str = ""  # ISO 639-1, where the engine detects it
    words: tuple[tuple[float, float, str], ...] = ()


class AsrEngine(Protocol):
    """What turns sound into timed text."""

    name: str

    def transcribe(self, audio: np.ndarray) -> list[Speech]:
        """Segments of `audio`, float32 [n] mono at 16 kHz. Raises ContextUnavailable."""
        ...


def resample_16k(audio: AudioTrack) -> np.ndarray:
    """The track as Whisper hears it: float32 [n] mono at 16 kHz, first sample at `audio.start`."""
    return to_mono(audio.samples, audio.rate, RATE)


class WhisperEngine:
    """openai-whisper from a checkpoint file. Greedy and without memory of earlier text, so deterministic.

    What silence, music and noise make a recogniser invent is left out: segments it was not sure of, that repeat
    themselves, or that hold no word.
    """

    name = "whisper"

    def __init__(self, path: Path, device: str = "cpu") -> None:
        import pickle

        whisper = _import_whisper()
        try:
            # By path, even for official names: by name whisper may go to the network. weights_only is its default.
            model = whisper.load_model(str(path), device=device)
        except (RuntimeError, KeyError, TypeError, EOFError, OSError, pickle.UnpicklingError) as e:
            raise ContextUnavailable(
                f"{path} is not a whole openai-whisper checkpoint ({type(e).__name__}); give another with --asr PATH, "
                "or delete it if its download was cut off"
            ) from e
        self._use(model)

    @classmethod
    def from_base(cls, device: str = "cpu") -> WhisperEngine:
        """Whisper-base as `mllm-avqa weights whisper` keeps it. Raises CheckpointError for a spoilt file."""
        import torch

        from mllm_avqa.bases.ctranslate2 import read_arrays, whisper_state

        file = have(BASE)
        assert file is not None  # the caller looked
        model_module = _import_whisper().model
        model = model_module.Whisper(model_module.ModelDimensions(**BASE_DIMENSIONS))
        state = whisper_state(read_arrays(file))
        model.load_state_dict({k: torch.tensor(v, dtype=torch.float32) for k, v in state.items()})
        model.set_alignment_heads(_import_whisper()._ALIGNMENT_HEADS["base"])
        engine = cls.__new__(cls)
        engine._use(model.to(device).eval())
        return engine

    def _use(self, model: Any) -> None:
        self._model = model
        self._lock = threading.Lock()

    def transcribe(self, audio: np.ndarray) -> list[Speech]:
        """Segments of `audio`, float32 [n] mono at 16 kHz. Raises ContextUnavailable when the model fails."""
        with self._lock:
            try:
                found = self._model.transcribe(
                    np.ascontiguousarray(audio, dtype=np.float32),  # never a path: that needs the ffmpeg program
                    verbose=None,
                    temperature=0.0,  # sampling again at higher temperatures would make texts random
                    condition_on_previous_text=False,  # else one repetition loop spoils the rest
                    fp16=self._model.device.type == "cuda",
                    word_timestamps=True,
                )
            except RuntimeError as e:
                raise ContextUnavailable(f"speech recognition failed: {e}") from e
        return _in_order(
            [
                Speech(s["start"], s["end"], s["text"], found.get("language", ""), _words(s))
                for s in found["segments"]
                if heard(s)
            ],
            len(audio) / RATE,
        )


def heard(segment: Mapping[str, Any]) -> bool:
    """Whether a segment of openai-whisper is speech, by the limits that Whisper itself falls back at (Radford et al.
    2022, section 4.5): mean log-probability -1, compression ratio 2.4; and text that holds a word outside brackets."""
    words = re.sub(r"\([^)]*\)|\[[^\]]*\]|\*[^*]*\*", "", str(segment["text"]))
    return (
        segment.get("avg_logprob", 0.0) >= LEAST_LOGPROB
        and segment.get("compression_ratio", 0.0) <= MOST_REPETITION
        and (segment.get("no_speech_prob", 0.0) <= MOST_NO_SPEECH or segment.get("avg_logprob", 0.0) >= SURE_LOGPROB)
        and any(c.isalnum() for c in words)
    )


def _words(segment: Mapping[str, Any]) -> tuple[tuple[float, float, str], ...]:
    return tuple(
        (round(float(w["start"]), 2), round(float(w["end"]), 2), w["word"].strip()) for w in segment.get("words", ())
    )


class TransformersEngine:
    """Whisper in Hugging Face format (a directory or a cached repository), 30 s at a time, greedy."""

    name = "transformers"

    def __init__(self, spec: str, device: str = "cpu", allow_download: bool = False) -> None:
        from transformers import AutoProcessor, WhisperForConditionalGeneration

        self._lock = threading.Lock()
        try:
            self._processor: Any = AutoProcessor.from_pretrained(
                spec, local_files_only=not allow_download, trust_remote_code=False
            )
            self._model: Any = WhisperForConditionalGeneration.from_pretrained(
                spec, local_files_only=not allow_download, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError) as e:
            raise ContextUnavailable(
                f"no Whisper model in Hugging Face format to be had as {spec!r} ({type(e).__name__}): download the "
                "whole repository folder and give it with --asr PATH"
            ) from e
        cast(Any, self._model).to(device).eval()

    def transcribe(self, audio: np.ndarray) -> list[Speech]:
        """Segments of `audio`, float32 [n] mono at 16 kHz. Raises ContextUnavailable when the model fails."""
        found: list[Speech] = []
        with self._lock:
            for first in range(0, len(audio), CHUNK):
                found += self._chunk(audio[first : first + CHUNK], first / RATE)
        return _in_order(found, len(audio) / RATE)

    def _chunk(self, audio: np.ndarray, offset: float) -> list[Speech]:
        import torch

        features = self._processor(audio, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
        try:
            with torch.inference_mode():
                ids = self._model.generate(
                    features.input_features.to(self._model.device),
                    attention_mask=features.attention_mask.to(self._model.device),
                    return_timestamps=True,
                    do_sample=False,
                    num_beams=1,
                )
        except (RuntimeError, ValueError) as e:
            raise ContextUnavailable(f"speech recognition failed: {e}") from e
        decoded = self._processor.tokenizer.decode(ids[0], skip_special_tokens=True, output_offsets=True)
        length = len(audio) / RATE
        out = []
        for part in decoded["offsets"]:
            start, end = part["timestamp"]
            out.append(Speech(offset + (start or 0.0), offset + (length if end is None else end), part["text"]))
        return out


def _in_order(found: Iterable[Speech], length: float) -> list[Speech]:
    """Segments with times inside 0..length and text in them, in order of time."""
    segments = []
    for s in found:
        start, end = min(max(float(s.start), 0.0), length), min(max(float(s.end), 0.0), length)
        if s.text.strip():
            segments.append(replace(s, start=start, end=max(start, end), text=s.text.strip()))
    return sorted(segments, key=lambda s: (s.start, s.end))


def _import_whisper() -> Any:
    try:
        import whisper
    except ImportError as e:
        raise ContextUnavailable(
            f"openai-whisper is not installed ({e}); get it with: pip install openai-whisper"
        ) from e
    return whisper


def whisper_cache() -> Path:
    """The folder where openai-whisper keeps its weights."""
    return Path(os.getenv("XDG_CACHE_HOME", os.path.join(os.path.expanduser("~"), ".cache"))) / "whisper"


def load_asr(spec: str | None = None, *, allow_download: bool = False, device: str = "cpu") -> AsrEngine:
    """The speech recogniser meant by `spec` (--asr).

    spec: an openai-whisper checkpoint file, a directory in Hugging Face format, an official name ("small"), a
    repository name ("openai/whisper-small"), or None for whatever official weights are cached, else Whisper-base as
    `mllm-avqa weights whisper` keeps it.
    allow_download: names may be fetched from the network; otherwise only what is on the disk is looked at.
    Raises ContextUnavailable when the weights are not to be had, with the way to get them, and ConfigError when
    `spec` is nothing of the above.
    """
    if spec is None:
        for name in PREFERRED:
            if (whisper_cache() / OFFICIAL[name]).is_file():
                return WhisperEngine(whisper_cache() / OFFICIAL[name], device)
        if have(BASE) is not None:
            return WhisperEngine.from_base(device)
        raise ContextUnavailable(
            "no speech recognition weights: get Whisper-base once with mllm-avqa weights whisper, put one of "
            f"openai-whisper's files (small.pt, base.pt ...) into {whisper_cache()}, or give a checkpoint file or "
            "Hugging Face Whisper folder with --asr PATH"
        )
    path = Path(spec).expanduser()
    if path.is_file():
        return WhisperEngine(path, device)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(f"--asr {spec}: the folder holds no config.json, so it is no Hugging Face model")
        return TransformersEngine(str(path), device)
    if spec in OFFICIAL:
        return _by_name(spec, allow_download, device)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", spec) and path.suffix not in (".pt", ".pth", ".bin", ".safetensors"):
        return TransformersEngine(spec, device, allow_download)
    raise ConfigError(
        f"--asr {spec}: no such file or folder; allowed are an openai-whisper checkpoint file, a Hugging Face Whisper "
        f"folder, a repository name such as openai/whisper-small, or one of {', '.join(OFFICIAL)}"
    )


def _by_name(name: str, allow_download: bool, device: str) -> AsrEngine:
    file = whisper_cache() / OFFICIAL[name]
    if not file.is_file():
        how = (
            f"put {file.name} there (with a network, python -c \"import whisper; whisper.load_model('{name}')\" "
            "writes it to the same folder) or give the file with --asr PATH"
        )
        if not allow_download:
            raise ContextUnavailable(f"the weights of whisper {name!r} are not in {file.parent}: {how}")
        whisper = _import_whisper()
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # whisper's own download would wait for ever
        try:
            whisper.load_model(name, device="cpu")
        except (OSError, RuntimeError) as e:  # URLError and timeouts are OSErrors
            file.unlink(missing_ok=True)  # whisper leaves half a file behind
            raise ContextUnavailable(f"the weights of whisper {name!r} could not be downloaded ({e}): {how}") from e
        finally:
            socket.setdefaulttimeout(before)
    return WhisperEngine(file, device)

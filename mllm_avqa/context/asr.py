"""Speech to text: one small protocol and two Whisper engines that only ever read local files unless told otherwise."""

from __future__ import annotations

import os
import re
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from mllm_avqa.model.resample import to_mono
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
PREFERRED = ("small", "base", "turbo", "tiny", "medium", "large-v3", "small.en", "base.en", "tiny.en", "medium.en")


@dataclass(frozen=True)
class Segment:
    """One stretch of speech; seconds from the first sample."""

    start: float
    end: float
    text: str


class AsrEngine(Protocol):
    """What turns sound into timed text."""

    name: str

    def transcribe(self, audio: np.ndarray) -> list[Segment]:
        """Segments of `audio`, float32 [n] mono at 16 kHz. Raises ContextUnavailable."""
        ...


def resample_16k(audio: AudioTrack) -> np.ndarray:
    """The track as Whisper hears it: float32 [n] mono at 16 kHz, first sample at `audio.start`."""
    return to_mono(audio.samples, audio.rate, RATE)


class WhisperEngine:
    """openai-whisper from a checkpoint file. Greedy and without memory of earlier text, so deterministic."""

    name = "whisper"

    def __init__(self, path: Path, device: str = "cpu") -> None:
        import pickle

        whisper = _import_whisper()
        self._lock = threading.Lock()
        try:
            # By path, even for official names: by name whisper may go to the network. weights_only is its default.
            self._model: Any = whisper.load_model(str(path), device=device)
        except (RuntimeError, KeyError, TypeError, EOFError, OSError, pickle.UnpicklingError) as e:
            raise ContextUnavailable(
                f"{path} is not a whole openai-whisper checkpoint ({type(e).__name__}); give another with --asr PATH, "
                "or delete it if its download was cut off"
            ) from e

    def transcribe(self, audio: np.ndarray) -> list[Segment]:
        """Segments of `audio`, float32 [n] mono at 16 kHz. Raises ContextUnavailable when the model fails."""
        with self._lock:
            try:
                found = self._model.transcribe(
                    np.ascontiguousarray(audio, dtype=np.float32),  # never a path: that needs the ffmpeg program
                    verbose=None,
                    temperature=0.0,  # sampling again at higher temperatures would make texts random
                    condition_on_previous_text=False,  # else one repetition loop spoils the rest
                    fp16=self._model.device.type == "cuda",
                )
            except RuntimeError as e:
                raise ContextUnavailable(f"speech recognition failed: {e}") from e
        return _in_order(((s["start"], s["end"], s["text"]) for s in found["segments"]), len(audio) / RATE)


class TransformersEngine:
    """Whisper in Hugging Face format (a directory or a cached repository), 30 s at a time, greedy."""

    name = "transformers"

    def __init__(self, spec: str, device: str = "cpu", allow_download: bool = False) -> None:
        from transformers import AutoProcessor, WhisperForConditionalGeneration

        self._lock = threading.Lock()
        try:
            self._processor: Any = AutoProcessor.from_pretrained(spec, local_files_only=not allow_download)
            self._model: Any = WhisperForConditionalGeneration.from_pretrained(
                spec, local_files_only=not allow_download
            )
        except (OSError, ValueError) as e:
            raise ContextUnavailable(
                f"no Whisper model in Hugging Face format to be had as {spec!r} ({type(e).__name__}): download the "
                "whole repository folder and give it with --asr PATH"
            ) from e
        cast(Any, self._model).to(device).eval()

    def transcribe(self, audio: np.ndarray) -> list[Segment]:
        """Segments of `audio`, float32 [n] mono at 16 kHz. Raises ContextUnavailable when the model fails."""
        found: list[tuple[float, float, str]] = []
        with self._lock:
            for first in range(0, len(audio), CHUNK):
                found += self._chunk(audio[first : first + CHUNK], first / RATE)
        return _in_order(found, len(audio) / RATE)

    def _chunk(self, audio: np.ndarray, offset: float) -> list[tuple[float, float, str]]:
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
            out.append((offset + (start or 0.0), offset + (length if end is None else end), part["text"]))
        return out


def _in_order(found: Any, length: float) -> list[Segment]:
    """Segments with times inside 0..length and text in them, in order of time."""
    segments = []
    for start, end, text in found:
        start, end = min(max(float(start), 0.0), length), min(max(float(end), 0.0), length)
        if str(text).strip():
            segments.append(Segment(start, max(start, end), str(text).strip()))
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
    repository name ("openai/whisper-small"), or None for whatever official weights are cached.
    allow_download: names may be fetched from the network; otherwise only what is on the disk is looked at.
    Raises ContextUnavailable when the weights are not to be had, with the way to get them, and ConfigError when
    `spec` is nothing of the above.
    """
    if spec is None:
        for name in PREFERRED:
            if (whisper_cache() / OFFICIAL[name]).is_file():
                return WhisperEngine(whisper_cache() / OFFICIAL[name], device)
        raise ContextUnavailable(
            f"no speech recognition weights in {whisper_cache()}: put one of openai-whisper's files there "
            "(small.pt, base.pt ...) or give a checkpoint file or Hugging Face Whisper folder with --asr PATH"
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

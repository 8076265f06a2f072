"""What this installation can do: versions, readers, text engines, weights, checkpoint. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
import json
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from rich.table import Table
from rich.text import Text

from mllm_avqa.schema.errors import AvqaError

# The ranges this version is tested with, as in requirements.txt: (distribution, from, below, without it nothing works).
TESTED: tuple[tuple[str, str, str | None, bool], ...] = (
    ("torch", "2.14", None, True),
    ("torchvision", "0.29", None, True),
    ("transformers", "5.21", "6", True),
    ("peft", "0.20", None, False),
    ("numpy", "2.0", None, True),
    ("scipy", "1.13", None, True),
    ("av", "18.0", None, True),
    ("opencv-python-headless", "4.10", None, True),
    ("pyloudnorm", "0.2", None, True),
    ("pydantic", "2.8", None, True),
    ("pyarrow", "17.0", None, False),
    ("decord", "0.6.0", None, False),
    ("rapidocr", "3.4", None, False),
    ("onnxruntime", "1.20", None, False),
    ("openai-whisper", "20250625", None, False),
)
PYTHON = (3, 11)
_MODULE = {"pyav": "av", "decord": "decord"}


@dataclass(frozen=True)
class Check:
    """One finding. `remedy` says what to do when `state` is not ok; only a required one fails the whole."""

    name: str
    state: Literal["ok", "missing", "broken"]
    detail: str
    remedy: str = ""
    required: bool = True


def examine() -> list[Check]:
    """Every check, in the order a person would look. Takes a few seconds: torch is imported and clips are decoded."""
    checks = [_python(), *_packages(), _device()]
    with tempfile.TemporaryDirectory(prefix="mllm-avqa-") as folder:
        clip = Path(folder) / "clip.mp4"
        try:
            make_clip(clip)
            checks += [_reader("pyav", clip, required=True), _reader("decord", clip, required=False)]
        except (ImportError, OSError) as e:
            checks.append(Check("readers", "broken", f"PyAV can not write a test clip: {e}", "pip install -U av"))
    return [*checks, _ocr(), *_whisper(), _checkpoint(), *_towers()]


def make_clip(path: Path) -> None:
    """Half a second of moving grey and a 440 Hz tone, H.264 and AAC in MP4, 64x48 at 16 fps."""
    import av
    import numpy as np

    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=16)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("aac", rate=16000, layout="mono")
        for i in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 25 * i, np.uint8), format="rgb24")
            out.mux(video.encode(frame))
        tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 16000).astype(np.float32)
        sound = av.AudioFrame.from_ndarray(tone[None] * 0.5, format="fltp", layout="mono")
        sound.rate = 16000
        out.mux(audio.encode(sound))
        out.mux([*video.encode(None), *audio.encode(None)])


def show(checks: list[Check]) -> Table:
    """The checks for a terminal."""
    mark = {"ok": ("ok", "green"), "missing": ("missing", "yellow"), "broken": ("broken", "bold red")}
    table = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        word, style = mark[check.state]
        if check.state != "ok" and not check.required:
            word, style = f"{word} (optional)", "yellow"
        body = Text(check.detail)
        if check.state != "ok" and check.remedy:
            body.append(f"\n-> {check.remedy}", "cyan")
        table.add_row(Text(word, style), Text(check.name), body)
    return table


def to_json(checks: list[Check]) -> str:
    """{"ok": bool, "checks": [...]}; ok when every required check is."""
    ok = all(c.state == "ok" for c in checks if c.required)
    return json.dumps({"ok": ok, "checks": [asdict(c) for c in checks]}, indent=2)


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    good = sys.version_info[:2] >= PYTHON
    needed = ".".join(map(str, PYTHON))
    return Check("python", "ok" if good else "broken", found, f"install Python {needed} or newer")


def _packages() -> Iterator[Check]:
    for name, low, high, required in TESTED:
        span = f"{name}>={low}" + (f",<{high}" if high else "")
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Check(name, "missing", f"not installed; tested with {span}", f"pip install '{span}'", required)
            continue
        inside = _release(found) >= _release(low) and (high is None or _release(found) < _release(high))
        detail = found if inside else f"{found} is outside the tested range {span}"
        yield Check(name, "ok" if inside else "broken", detail, f"pip install '{span}'", required)


def _release(text: str) -> tuple[int, ...]:
    """Leading numbers of a version, without trailing zeros: "2.14.0+cpu" -> (2, 14)."""
    match = re.match(r"\d+(\.\d+)*", text)
    numbers = [int(n) for n in match.group().split(".")] if match else [0]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _device() -> Check:
    try:
        import torch
    except (ImportError, OSError) as e:  # OSError: a shared library of CUDA is missing
        return Check("device", "broken", f"torch can not be imported: {e}", "reinstall torch for this machine")
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("device", "ok", f"cuda: {torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    return Check("device", "ok", f"cpu, {torch.get_num_threads()} threads (enough for the checkpoint 'nano')")


def _reader(name: str, clip: Path, *, required: bool) -> Check:
    label = f"reader {name}"
    remedy = "pip install -U av" if required else "pip install decord (x86-64 only); --reader pyav needs none"
    try:
        from mllm_avqa.media import MediaReader
        from mllm_avqa.schema.clip import DecodeSpec

        reader = MediaReader(reader=name)
        try:
            found = reader.read_clip(str(clip), DecodeSpec(duration=1.0))
        finally:
            reader.close()
    except (AvqaError, ImportError) as e:
        state: Literal["missing", "broken"] = "broken" if _has(_MODULE[name]) else "missing"
        return Check(label, state, f"could not read a test clip: {e}", remedy, required)
    pictures = 0 if found.video is None else len(found.video.thumbs)
    sound = 0.0 if found.audio is None else found.audio.samples.shape[1] / found.audio.rate
    good = pictures > 0 and sound > 0.3
    detail = f"read a test clip: {pictures} frames, {sound:.2f} s of sound"
    return Check(label, "ok" if good else "broken", detail, remedy, required)


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _ocr() -> Check:
    missing = [m for m in ("rapidocr", "onnxruntime") if not _has(m)]
    if missing:
        detail = f"{', '.join(missing)} not installed: on-screen text is not read"
        return Check("on-screen text", "missing", detail, "pip install rapidocr onnxruntime", required=False)
    import numpy as np

    from mllm_avqa.context.ocr import default_ocr

    try:
        default_ocr().read(np.full((64, 96, 3), 128, np.uint8))
    except (AvqaError, ImportError, OSError) as e:  # OpenCV without libGL is an ImportError
        return Check("on-screen text", "broken", str(e), "pip install -U rapidocr onnxruntime", required=False)
    return Check(
        "on-screen text", "ok", "rapidocr read a test frame; its models are inside the package", required=False
    )


def _whisper() -> Iterator[Check]:
    from mllm_avqa.bases import base_folder, have
    from mllm_avqa.context.asr import BASE, OFFICIAL, whisper_cache

    engines = {"openai-whisper": "whisper", "transformers": "transformers"}
    packages = [name for name, module in engines.items() if _has(module)]
    yield Check(
        "speech recognition",
        "ok" if packages else "missing",
        ", ".join(packages) or "no Whisper package installed: speech is not transcribed",
        "pip install openai-whisper",
        required=False,
    )
    cache = whisper_cache()
    found = sorted({f for f in OFFICIAL.values() if (cache / f).is_file()})
    places = ([f"{', '.join(found)} in {cache}"] if found else []) + ([str(base_folder(BASE))] if have(BASE) else [])
    yield Check(
        "Whisper weights",
        "ok" if places else "missing",
        "; ".join(places) or f"none in {cache}",
        "mllm-avqa weights whisper",
        required=False,
    )


def _checkpoint() -> Check:
    remedy = "reinstall mllm-avqa, or give another checkpoint with --checkpoint DIR"
    try:
        from mllm_avqa.model.checkpoint import resolve_checkpoint
        from mllm_avqa.model.weights import weights_hash
        from mllm_avqa.schema.card import Card

        directory = resolve_checkpoint("nano")
        card = Card.load(directory)
    except (AvqaError, ImportError) as e:
        return Check("checkpoint nano", "missing", str(e), remedy)
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        return Check("checkpoint nano", "missing", f"no *.safetensors in {directory}", remedy)
    size = sum(f.stat().st_size for f in files) / 1e6
    return Check("checkpoint nano", "ok", f"{card.name}, {size:.1f} MB, weights {weights_hash(directory)}")


def _towers() -> Iterator[Check]:
    """Whether the embedded checkpoint's language model can read what its towers hand over."""
    remedy = "school the towers: python -m train school"
    try:
        from mllm_avqa.model.backbones.qwen2_5_omni import Qwen25Omni
        from mllm_avqa.model.checkpoint import open_checkpoint
        from mllm_avqa.model.projectors import readings

        backbone, _, _ = open_checkpoint("nano", device="cpu")
    except (AvqaError, ImportError):
        return  # said by the check before
    if isinstance(backbone, Qwen25Omni):
        for part, found in readings(backbone).items():
            state: Literal["ok", "broken"] = "ok" if found.legible else "broken"
            yield Check(f"nano's {part} tokens", state, str(found), remedy, required=False)

"""Lessons for the towers: short scenes with new faults, as arrays beside what is known of them.

A lesson of sight is the `fragments` view of four consecutive frames; one of hearing a few seconds of mono sound. Both
come with the dose of every fault and with their likeness to the clean scene, token by token. A shard depends on the
recipe, its number and the seed alone; shards that are there are kept.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data_recipes.distortions import REGISTRY, Material, distort, kinds
from data_recipes.distortions.audio_codec import fit, resample
from data_recipes.distortions.video_codec import round_trip
from data_recipes.synthesis.build import RATE, _normalised
from data_recipes.synthesis.demux import photo_material, read_material
from data_recipes.synthesis.looks import another_look
from data_recipes.synthesis.scenery import scenery
from data_recipes.synthesis.sources import Source
from mllm_avqa.media.resample import to_mono
from mllm_avqa.model.views import native_patches
from mllm_avqa.schema.card import ViewSpec
from mllm_avqa.schema.errors import ConfigError, MediaError
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.workers import one_thread

SHARD = 100  # lessons
PER_SCENE = 12  # lessons made of one decoded scene
FRAMES = 6  # of a scene; the first two only feed the codec
HEIGHTS = (240, 320, 360, 400, 400, 480)
SHARES = {"clean": 0.1, "two": 0.25}  # of the lessons; all others have one fault
LOOKS = 0.5  # of the scenes are graded and mirrored first
PLAIN = {"video": 0.5, "photo": 0.28, "scenery": 0.22}  # where scenes of sight come from
CODED = 0.9  # of the scenes pass a light codec last, as every real clip has
HEARD = 3.0  # seconds of a lesson of hearing
PARTIAL = 0.3  # of the faults of sound concern a part
LUFS = (-30.0, -16.0)
UNSEEN = {"framedrop", "jerky", "freeze", "black_frames", "shake", "hevc", "vp9", "av1"}  # longer than a scene; slow
UNSEEN |= {"rebuffering", "rate_switch", "bitrate_ladder"}
UNHEARD = {"imbalance", "antiphase"}  # nothing in mono
SPEC = ViewSpec()


def subjects(modality: str) -> list[str]:
    """Names of the faults that lessons of "video" or "audio" teach: the columns of `dose`."""
    left_out = UNSEEN if modality == "video" else UNHEARD
    return [k.kind for k in kinds(modality, named=REGISTRY) if k.kind not in left_out]


def write_lessons(sources: list[Source], out: Path, counts: dict[str, int], seed: int, workers: int) -> Iterator[Path]:
    """Shards `<modality>-<split>-<number>.npz` in `out`, as they are made. counts: lessons by "video-train" etc."""
    out.mkdir(parents=True, exist_ok=True)
    jobs = []
    for name, count in counts.items():
        modality, split = name.split("-")
        own = [s for s in sources if s.split == split]
        for number in range(-(-count // SHARD)):
            file = out / f"{name}-{number:03d}.npz"
            if not file.is_file():
                jobs.append((modality, own, file, min(SHARD, count - number * SHARD), [seed, len(own), number]))
    with multiprocessing.get_context("spawn").Pool(workers, initializer=one_thread) as pool:
        yield from pool.imap_unordered(_shard, jobs)


def _shard(job: tuple[str, list[Source], Path, int, list[int]]) -> Path:
    modality, sources, file, count, seed = job
    rng = np.random.default_rng(seed)
    make = _sight if modality == "video" else _hearing
    made: list[dict[str, Any]] = []
    while len(made) < count:
        made += make(sources, min(PER_SCENE, count - len(made)), rng)
    arrays = {key: np.stack([m[key] for m in made]) for key in made[0]}
    with whole_file(file) as part, part.open("wb") as f:
        np.savez(f, allow_pickle=False, names=np.array(subjects(modality)), **arrays)
    return file


# ---- sight ----------------------------------------------------------------------------------------------------


def _sight(sources: list[Source], count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    frames, name = _scene(sources, rng)
    height, width = frames.shape[1:3]
    wide = min(width, int(height * rng.uniform(1.0, 1.5)))
    left = int(rng.integers(0, width - wide + 1))
    frames = np.ascontiguousarray(frames[:, :, left : left + wide])
    clean = Material(frames=another_look(frames, rng) if rng.random() < LOOKS else frames)
    whole = _fragments(clean)
    out = []
    for _ in range(count):
        faulty, dose = _faulty(clean, "video", rng)
        assert faulty.frames is not None
        shown = faulty.frames
        if rng.random() < CODED:
            light = {"crf": str(int(rng.integers(12, 22))), "preset": "ultrafast"}
            shown = round_trip(shown, 25.0, "libx264", "h264", light)
        view = _fragments(replace(faulty, frames=shown))
        out.append({"view": view, "dose": dose, "likeness": _likeness(view, whole), "source": np.array(name)})
    return out


def _scene(sources: list[Source], rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Frames [FRAMES, h, w, 3] of a place that was drawn, and where they come from."""
    height = int(rng.choice(HEIGHTS))
    by_kind = {k: [s for s in sources if s.kind == k] for k in ("video", "photo")}
    kind = str(rng.choice(list(PLAIN), p=list(PLAIN.values())))
    if kind == "scenery" or not by_kind[kind]:
        return scenery(FRAMES, height, rng)
    for _ in range(20):
        source = by_kind[kind][int(rng.integers(len(by_kind[kind])))]
        try:
            if kind == "photo":
                material = photo_material(source.path, FRAMES / 25, 25.0, height, rng)
            else:
                start = float(rng.uniform(0, max(0.0, source.seconds - 1.0)))
                material = read_material(source.path, start, 0.9, height)
        except MediaError:
            continue
        if material.frames is not None and len(material.frames) >= FRAMES:
            return material.frames[-FRAMES:], source.id
    raise ConfigError(f"no {kind} source gives {FRAMES} frames (--sources)")


def _fragments(material: Material) -> np.ndarray:
    """uint8 [8, h, w, 3]: the last four frames twice, so that every segment shows other places."""
    assert material.frames is not None
    return native_patches(np.concatenate([material.frames[-4:]] * 2), SPEC)


def _likeness(view: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """SSIM of luminance per token [pairs * rows * cols], over its blocks of 7 x 7."""
    side, block = SPEC.patch, 7

    def blocks(x: np.ndarray) -> np.ndarray:
        luma = x @ np.array([0.299, 0.587, 0.114], np.float32)
        n, h, w = luma.shape
        return (
            luma.reshape(n, h // block, block, w // block, block)
            .transpose(0, 1, 3, 2, 4)
            .reshape(n, h // block, w // block, -1)
        )

    a, b = blocks(view), blocks(clean)
    ma, mb = a.mean(-1), b.mean(-1)
    va, vb, both = a.var(-1), b.var(-1), ((a - ma[..., None]) * (b - mb[..., None])).mean(-1)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    n, h, w = ssim.shape
    per = side // block
    ssim = ssim.reshape(n // 2, 2, h // per, per, w // per, per).mean((1, 3, 5))
    return np.asarray(ssim.reshape(-1), np.float32)


# ---- hearing --------------------------------------------------------------------------------------------------


def _hearing(sources: list[Source], count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    having = [s for s in sources if s.has_sound]
    clean, name = _sound(having, rng)
    other, _ = _sound(having, rng)
    out = []
    for _ in range(count):
        level = _normalised(clean, float(rng.uniform(*LUFS)))
        faulty, dose = _faulty(Material(sound=level, rate=RATE, other=Material(sound=other, rate=RATE)), "audio", rng)
        assert faulty.sound is not None
        pair = [to_mono(s, RATE, SPEC.audio_rate) for s in (faulty.sound, level)]
        heard, whole = (np.rint(np.clip(s, -1, 1) * 32767).astype(np.int16) for s in pair)
        out.append({"sound": heard, "clean": whole, "dose": dose, "source": np.array(name)})
    return out


def _sound(sources: list[Source], rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Stereo sound [2, HEARD * RATE] of a place that was drawn, not silent, and where it comes from."""
    entries: dict[str, list[Source]] = {}  # a folder of one voice's short prompts counts as much as one of music
    for s in sources:
        entries.setdefault(s.id.split("/")[0], []).append(s)
    for _ in range(50):
        own = entries[str(rng.choice(list(entries)))]
        source = own[int(rng.integers(len(own)))]
        start = float(rng.uniform(0, max(0.0, source.seconds - HEARD)))
        try:
            material = read_material(source.path, start, HEARD, HEIGHTS[0])
        except MediaError:
            continue
        if material.sound is None or material.sound.shape[1] < 0.5 * material.rate:
            continue
        sound = resample(material.sound, material.rate, RATE)
        sound = np.tile(sound, (1, -(-round(HEARD * RATE) // sound.shape[1])))
        sound = fit(np.repeat(sound, 2, axis=0) if len(sound) == 1 else sound, round(HEARD * RATE))
        if np.abs(sound).max() > 1e-3:
            return sound, source.id
    raise ConfigError("no source gives audible sound (--sources)")


# ---- faults ---------------------------------------------------------------------------------------------------


def _faulty(material: Material, modality: str, rng: np.random.Generator) -> tuple[Material, np.ndarray]:
    """The scene with none, one or two faults, and the dose 0..1 of every subject."""
    names = subjects(modality)
    dose = np.zeros(len(names), np.float32)
    dice = rng.random()
    count = 0 if dice < SHARES["clean"] else 2 if dice > 1 - SHARES["two"] else 1
    for k in rng.choice(len(names), count, replace=False):
        level, seed = int(rng.integers(1, 6)), int(rng.integers(2**31))
        span = None
        if modality == "audio" and rng.random() < PARTIAL:
            start = float(rng.uniform(0, HEARD / 2))
            span = (start, float(rng.uniform(start + HEARD / 4, HEARD)))
        try:
            material, _ = distort(material, names[k], level, seed, span)
        except ConfigError:
            continue  # makes no sense on a part, or on this scene: the lesson goes without
        share = 1.0 if span is None else (span[1] - span[0]) / HEARD
        dose[k] = level / 5 * share**0.5
    return material, dose

"""Material that is distorted, the kinds that distort it, and the one call that applies a kind to a part of a clip.

A kind is a function with a decorator that says all there is to know of it: `picture` for a function of the frames,
`sound` for one of the samples, `fault` for one of the whole material.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cache
from math import ceil, floor, isfinite
from typing import Any, Literal, TypeVar

import numpy as np

from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.names import Side
from mllm_avqa.schema.records import Distortion

Rng = np.random.Generator
Region = tuple[float, float, float, float]  # x, y, w, h: left edge, top edge, width, height in shares of the picture
Five = tuple[float, float, float, float, float]
Change = TypeVar("Change", bound=Callable[..., Any])

ROUNDING = 1e-6  # shares written with a few decimals may exceed 1 by this in sum
SEAM_S = 0.005  # cross-fade at the inner edges of a distorted span, so that the seam itself does not click

# Ladders (MOS at levels 1-5). STANDARD puts level k at the word that a five-grade impairment scale (ITU-R BT.500: just
# perceptible, slightly annoying ...) gives it; MILD is for faults that stay watchable at their worst.
STANDARD: Five = (4.4, 3.7, 2.9, 2.1, 1.4)
MILD: Five = (4.6, 4.2, 3.7, 3.2, 2.7)
HARSH: Five = (4.2, 3.3, 2.4, 1.7, 1.2)


@dataclass(frozen=True)
class Caption:
    """One line of captions, shown from `start` to `end` (seconds)."""

    start: float
    end: float
    text: str


@dataclass
class Material:
    """A decoded clip in memory. Frames and sound share the clock: both start at 0 s."""

    frames: np.ndarray | None = None  # uint8 [n, h, w, 3] RGB
    fps: float = 25.0
    sound: np.ndarray | None = None  # float32 [channels, samples], nominal range -1..1
    rate: int = 48000  # Hz
    captions: list[Caption] = field(default_factory=list)  # those not drawn into the frames (burnt in)
    transcript: str | None = None  # what is really said, when known
    other: Material | None = None  # another clip: unrelated sound, background noise

    @property
    def duration(self) -> float:
        """Seconds of the longer of picture and sound; 0 when there is neither."""
        picture = 0.0 if self.frames is None else len(self.frames) / self.fps
        return max(picture, 0.0 if self.sound is None else self.sound.shape[1] / self.rate)


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of fault with five levels: 1 just visible or audible .. 5 severe.

    `change` gets the strength of a level and a random generator, and returns new arrays of the same shape:
    (frames, value, rng, fps) -> frames, (sound, rate, value, rng) -> sound, or (material, value, rng) -> material.
    """

    kind: str
    modality: Side
    levels: tuple[Any, ...]  # five: a value, or a dict of named values, per level
    unit: str  # of the values, or "" where the dict names say it
    source: str  # where the levels come from, see references.py
    change: Callable[..., Any]
    takes: Literal["frames", "sound", "material"] = "material"
    needs: Callable[[Kind, Material, int], str | None] | None = None  # what else it needs and is not there
    whole_clip: bool = False  # True: makes no sense on a part, `distort` refuses a span
    regional: bool = False  # True: makes sense on a rectangle of the picture, `distort` takes a region
    on_request: bool = False  # True: `kinds` leaves it out unless it is named, so that old recipes stand
    alike: str = ""  # names of the groups it is in; kinds of one group can be taken for each other
    ladder: Five | None = None  # MOS 1-5 at levels 1-5; None: STANDARD, with what measures say (synthesis/doses.yaml)

    def __post_init__(self) -> None:
        if len(self.levels) != 5:
            raise ValueError(f"distortion kind {self.kind!r} has {len(self.levels)} levels, not 5")

    def parameters(self, level: int) -> dict[str, float | str]:
        """What level 1..5 means in numbers, as stored in `Distortion.parameters`."""
        value = self.value(level)
        named = value if isinstance(value, dict) else {self.unit or "value": value}
        return {k: v if isinstance(v, str) else float(v) for k, v in named.items()}

    def value(self, level: int) -> Any:
        """The entry of `levels` for level 1..5. Raises ConfigError for another level."""
        if level not in (1, 2, 3, 4, 5):
            raise ConfigError(
                f"level {level} of distortion {self.kind!r} does not exist; allowed: 1, 2, 3, 4, 5 (--levels)"
            )
        return self.levels[level - 1]

    def unusable(self, material: Material, level: int) -> str | None:
        """Why this kind can not be applied to this material (a sentence), or None when it can."""
        picture = material.frames is not None and len(material.frames) > 0
        heard = material.sound is not None and material.sound.size > 0
        if self.modality in ("video", "text", "sync") and not picture:
            return f"{self.modality} distortion {self.kind!r} needs a clip with pictures, this one has none"
        if self.modality in ("audio", "sync") and not heard:
            return f"{self.modality} distortion {self.kind!r} needs a clip with sound, this one has none"
        return self.needs(self, material, level) if self.needs else None

    def apply(self, material: Material, level: int, rng: Rng) -> Material:
        """The whole material with this fault; same lengths and shapes; the input is left as it was."""
        value = self.value(level)
        if self.takes == "frames":
            return replace(material, frames=self.change(material.frames, value, rng, material.fps))
        if self.takes == "sound":
            changed = self.change(material.sound, material.rate, value, rng)
            return replace(material, sound=np.ascontiguousarray(changed, dtype=np.float32))
        out: Material = self.change(material, value, rng)
        return out


REGISTRY: dict[str, Kind] = {}


def fault(
    kind: str, modality: Side, levels: tuple[Any, ...], unit: str, source: str, **facts: Any
) -> Callable[[Change], Change]:
    """Decorator: makes the function known as the kind of this name. facts: further fields of `Kind`."""
    if kind in REGISTRY:
        raise ValueError(f"distortion kind {kind!r} is defined twice")

    def known(change: Change) -> Change:
        REGISTRY[kind] = Kind(kind, modality, levels, unit, source, change, **facts)
        return change

    return known


def picture(
    kind: str, levels: tuple[Any, ...], unit: str, source: str, *, regional: bool = True, **facts: Any
) -> Callable[[Change], Change]:
    """`fault` for a function of the frames alone: (frames [n, h, w, 3] uint8, value, rng, fps) -> new frames."""
    return fault(kind, "video", levels, unit, source, takes="frames", regional=regional, **facts)


def sound(kind: str, levels: tuple[Any, ...], unit: str, source: str, **facts: Any) -> Callable[[Change], Change]:
    """`fault` for a function of the sound alone: (sound [channels, samples], rate, value, rng) -> new sound."""
    return fault(kind, "audio", levels, unit, source, takes="sound", **facts)


@cache
def alike(kind: str) -> frozenset[str]:
    """The kind and all that can be taken for it: never offered against each other, never asked for beside it."""
    groups = set(REGISTRY[kind].alike.split()) if kind in REGISTRY else set()
    return frozenset({kind, *(k.kind for k in REGISTRY.values() if groups & set(k.alike.split()))})


def kinds(modality: str | None = None, named: Collection[str] = ()) -> list[Kind]:
    """All kinds, or those of one modality ("video", "audio", "sync", "text"), in order of definition.

    Kinds on request are among them only when `named` holds their name; `kinds(named=REGISTRY)` is every kind there is.
    """
    if modality not in (None, "video", "audio", "sync", "text"):
        raise ConfigError(f"modality {modality!r} does not exist; allowed: video, audio, sync, text (--kinds)")
    known = [k for k in REGISTRY.values() if modality in (None, k.modality)]
    return [k for k in known if not k.on_request or k.kind in named]


def get(name: str) -> Kind:
    """The kind of this name. Raises ConfigError that lists the allowed ones."""
    try:
        return REGISTRY[name]
    except KeyError:
        raise ConfigError(
            f"distortion kind {name!r} does not exist; allowed: {', '.join(REGISTRY)} (--kinds)"
        ) from None


def distort(
    material: Material,
    kind: str,
    level: int,
    seed: int,
    span: tuple[float, float] | None = None,
    region: Region | None = None,
) -> tuple[Material, Distortion]:
    """Apply one fault, to all of the clip or to `span` = (start, end) seconds; the rest stays as it was, bit by bit.

    region = (x, y, w, h) in shares of the picture limits it to a rectangle. The fault is that of the whole picture seen
    through the rectangle: a level has the same strength, and the random draw is the same, with and without a region.

    Frame count, sample count and shapes never change. The random draw depends on `seed` and the kind alone, not on
    the level, so that the levels of one seed differ in strength only. Same arguments give identical arrays.

    Raises ConfigError for an unknown kind or level, a negative seed, a span outside of the clip, a span on a kind
    that only makes sense on a whole clip, a region outside of the picture or on a kind that has no place in it, and
    material that lacks what the kind needs.
    """
    k = get(kind)
    k.value(level)  # refuses a level that does not exist before anything is computed
    if seed < 0:
        raise ConfigError(f"seed {seed} is negative; allowed: 0 and above (--seed)")
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    duration = material.duration
    if span is not None:
        start, end = span
        if not 0 <= start < end <= duration + 1e-6:
            raise ConfigError(
                f"span {start}..{end} s of distortion {kind!r} is not inside the clip; "
                f"allowed: 0 <= start < end <= {duration:.3f} (--span)"
            )
        if k.whole_clip:
            raise ConfigError(f"distortion {kind!r} concerns a whole clip and can not be limited to a part (--span)")
    if region is not None:
        if not k.regional:
            allowed = ", ".join(r.kind for r in REGISTRY.values() if r.regional)
            raise ConfigError(f"distortion {kind!r} can not be limited to a region; allowed: {allowed} (--region)")
        check_region(region)
    if reason := k.unusable(material, level):
        raise ConfigError(f"{reason} (--kinds)")
    if span is None:
        start, end = 0.0, duration
        changed = _applied(k, material, level, rng, region)
    else:
        part = _cut(material, start, end)
        if reason := k.unusable(part, level):
            raise ConfigError(f"span {start}..{end} s: {reason} (--span)")
        changed = _splice(material, _applied(k, part, level, rng, region), start, end)
    if changed.captions:  # a shifted caption may hang over the ends of the clip
        shown = [Caption(max(c.start, 0.0), min(c.end, duration), c.text) for c in changed.captions]
        changed = replace(changed, captions=[c for c in shown if c.end > c.start])
    parameters = k.parameters(level)
    if region is not None:
        parameters |= {f"region_{side}": float(value) for side, value in zip("xywh", region, strict=True)}
    fault = Distortion(kind=kind, modality=k.modality, level=level, start=start, end=end, parameters=parameters)
    return changed, fault


def check_region(region: Region) -> None:
    """Raises ConfigError unless the rectangle has a size and lies inside the picture."""
    if len(region) == 4 and all(isfinite(v) for v in region):
        x, y, w, h = region
        if min(x, y) >= 0 and min(w, h) > 0 and max(x + w, y + h) <= 1 + ROUNDING:
            return
    raise ConfigError(
        f"region {tuple(region)} is not inside the picture; allowed: x,y,w,h in shares of its sides, "
        "x and y from 0, w and h above 0, x + w and y + h up to 1 (--region)"
    )


def region_pixels(region: Region, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that the rectangle touches, one pixel at least."""
    x, y, w, h = region

    def side(start: float, length: float, size: int) -> slice:
        first = min(floor(start * size + ROUNDING), size - 1)
        return slice(first, min(max(ceil((start + length) * size - ROUNDING), first + 1), size))

    return side(y, h, height), side(x, w, width)


def in_region(clean: np.ndarray, faulty: np.ndarray, region: Region) -> np.ndarray:
    """`clean` with the rectangle taken from `faulty`; frames [n, h, w, 3], a new array."""
    rows, columns = region_pixels(region, *clean.shape[1:3])
    out = clean.copy()
    out[:, rows, columns] = faulty[:, rows, columns]
    return out


def _applied(k: Kind, material: Material, level: int, rng: Rng, region: Region | None) -> Material:
    changed = k.apply(material, level, rng)
    if region is None or material.frames is None or changed.frames is None:
        return changed
    return replace(changed, frames=in_region(material.frames, changed.frames, region))


def _frame_range(material: Material, start: float, end: float) -> slice:
    assert material.frames is not None
    n = len(material.frames)
    first = min(round(start * material.fps), n)
    return slice(first, min(max(round(end * material.fps), first + 1), n))


def _sample_range(material: Material, start: float, end: float) -> slice:
    assert material.sound is not None
    n = material.sound.shape[1]
    return slice(min(round(start * material.rate), n), min(round(end * material.rate), n))


def _inside(caption: Caption, start: float, end: float) -> bool:
    return start <= (caption.start + caption.end) / 2 < end


def _cut(material: Material, start: float, end: float) -> Material:
    """The part start..end on its own clock; a caption belongs to it when its middle does."""
    return replace(
        material,
        frames=None if material.frames is None else material.frames[_frame_range(material, start, end)],
        sound=None if material.sound is None else material.sound[:, _sample_range(material, start, end)],
        captions=[Caption(c.start - start, c.end - start, c.text) for c in material.captions if _inside(c, start, end)],
    )


def _splice(material: Material, part: Material, start: float, end: float) -> Material:
    """`material` with start..end replaced by `part`."""
    frames, sound = material.frames, material.sound
    if frames is not None and part.frames is not None:
        frames = frames.copy()
        frames[_frame_range(material, start, end)] = part.frames
    if sound is not None and part.sound is not None:
        where = _sample_range(material, start, end)
        piece, clean = part.sound.copy(), sound[:, where]
        seam = min(round(SEAM_S * material.rate), piece.shape[1] // 2)
        if seam:
            ramp = np.linspace(0, 1, seam, dtype=np.float32)
            if where.start > 0:
                piece[:, :seam] = clean[:, :seam] * (1 - ramp) + piece[:, :seam] * ramp
            if where.stop < sound.shape[1]:
                piece[:, -seam:] = clean[:, -seam:] * ramp + piece[:, -seam:] * (1 - ramp)
        sound = sound.copy()
        sound[:, where] = piece
    kept = [c for c in material.captions if not _inside(c, start, end)]
    moved = [Caption(c.start + start, c.end + start, c.text) for c in part.captions]
    return replace(
        material,
        frames=frames,
        sound=sound,
        captions=sorted(kept + moved, key=lambda c: (c.start, c.end)),
    )

"""What clip number i will be: sources, window, faults, levels, spans. Drawn from (seed, i) before any decoding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from data_recipes.distortions import kinds
from data_recipes.synthesis.recipe import SPLITS, Recipe
from data_recipes.synthesis.sources import Inventory, Source
from mllm_avqa.schema.errors import ConfigError

SYNTH_VERSION = 1  # raise when the same plan would give another clip: finished clips are then made again
PAUSE = 0.3  # seconds between spoken lines that are strung together
BAND_LIMITED = 32000  # Hz: below this sample rate a low-pass at 8 or 12 kHz changes nothing that anybody hears
LUFS = (-26.0, -18.0)  # loudness that sound is brought to before it is distorted
REGION_SIDES = (0.3, 0.7)  # width and height of a region in shares of the picture
PHOTO_FPS = 25.0
PHOTO_MOVES = 3  # different pans over one photo
STILL_LINES = (240, 360, 480, 720, 1080)
MOVING = {  # what one frame cannot show
    "flicker", "framedrop", "jerky", "freeze", "shake", "interlace", "ghosting", "black_frames",
    "packet_loss", "lost_slices", "rebuffering", "rate_switch", "bitrate_ladder",
}  # fmt: skip


@dataclass(frozen=True)
class Pick:
    """A piece of a source: seconds from `start`."""

    source: str
    start: float
    seconds: float


@dataclass(frozen=True)
class PlannedFault:
    """`kinds`: the wanted kind, then replacements should the material not allow it; span in shares of the clip."""

    modality: str
    kinds: tuple[str, ...]
    level: int
    span: tuple[float, float] | None
    seed: int
    region: tuple[float, float, float, float] | None = None  # x, y, width, height in shares of the picture


@dataclass(frozen=True)
class Plan:
    """One clip, as plain data: equal plans give equal clips."""

    index: int
    seed: int
    split: str
    family: str
    picture: Pick | None
    sound: tuple[Pick, ...]  # empty: silent, or the picture's own
    own_sound: bool
    other: Pick | None  # for unrelated sound and background noise: another source of the same split
    lufs: float
    faults: tuple[PlannedFault, ...]
    captions: bool
    burn: bool
    aside: str = ""  # "injection" or "neutral": user text that must not move any score
    look: int | None = None  # seed of the other look that the picture has; None: as its source is
    still: int | None = None  # lines of the one frame that the clip is; None: it moves

    def key(self, recipe: Recipe, files: dict[str, Source]) -> str:
        """Hash of everything the finished clip depends on; the number of clips and of workers is not part of it."""
        used = [p.source for p in (self.picture, *self.sound, self.other) if p is not None]
        plan = asdict(self)
        for fault in plan["faults"]:  # what came later is told only where it is used: other clips stay as they are
            if fault["region"] is None:
                del fault["region"]
        for later in ("look", "still"):
            if plan[later] is None:
                del plan[later]
        facts: dict[str, object] = {
            "plan": plan,
            "version": SYNTH_VERSION,
            "recipe": recipe.model_dump(
                include={"name", "seconds", "max_height", "languages", "questions", "crf", "preset"}, mode="json"
            ),
            "sources": {u: [files[u].group, files[u].seconds, files[u].ceilings, files[u].transcript] for u in used},
        }
        if recipe.labels != "dose":
            facts["labels"] = recipe.labels
        if recipe.style != "short":
            facts["style"] = recipe.style
        if self.still is not None or any(f.region is not None for f in self.faults):
            facts["made"] = 2  # with no question for times, and with the region
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class Planner:
    """Draws plans. Raises ConfigError when the recipe's sources cannot give a single picture."""

    recipe: Recipe
    inventory: Inventory
    files: dict[str, Source] = field(init=False)

    def __post_init__(self) -> None:
        self.files = {s.id: s for s in self.inventory.sources}
        s = self.recipe.seconds
        inv = self.inventory
        self._videos = {p: [v for v in inv.of(p, "video") if v.seconds >= s - 0.05] for p in SPLITS}
        self._photos = {p: inv.of(p, "photo") for p in SPLITS}
        self._sounds = {p: [a for a in inv.of(p, "audio") if a.transcript is None] for p in SPLITS}
        self._spoken = {p: [a for a in inv.of(p, "audio") if a.transcript] for p in SPLITS}
        weights: dict[str, float] = {str(k): v for k, v in self.recipe.splits.items()}
        self.splits = [p for p in SPLITS if weights.get(p, 0.0) > 0 and (self._videos[p] or self._photos[p])]
        if not self.splits:
            raise ConfigError(
                f"recipe {self.recipe.name!r} finds no picture of {s} s in any split: give folders with --sources "
                f"(`python -m data_recipes sources` says what is missing)"
            )

    def plan(self, index: int, seed: int) -> Plan:
        """The plan of clip `index`; depends on (seed, index), the recipe and the sources found."""
        r, rng = self.recipe, np.random.default_rng([seed, index])
        split = _weighted(rng, self.splits, [r.splits[p] for p in self.splits])  # type: ignore[index]
        family = _weighted(rng, list(families := r.mixture.model_dump()), list(families.values()))
        if family == "text" and not self._spoken[split]:
            family = "both"
        if family == "sync" and not any(v.has_sound for v in self._videos[split]):
            family = "both"
        spoken = bool(self._spoken[split]) and (family == "text" or rng.random() < r.shares.clean_captions)
        spoken = spoken and family != "sync"
        unseen = family in ("audio", "clean") and not spoken and rng.random() < r.shares.unseen
        silent = family in ("video", "clean") and not spoken and not unseen and rng.random() < r.shares.silent
        picture = None if unseen else self._picture(rng, split, own_sound=family == "sync")
        own = picture is not None and self.files[picture.source].has_sound and not silent and not spoken
        sound: tuple[Pick, ...] = ()
        if not own and not silent:
            if spoken:
                sound = self._string(rng, self._spoken[split])
            elif self._sounds[split] and (unseen or rng.random() < r.shares.borrow or family in ("both", "audio")):
                sound = self._string(rng, self._sounds[split])
        captions = spoken and picture is not None and bool(sound)
        if picture is None and not sound:
            raise ConfigError(f"recipe {r.name!r}: split {split!r} has neither pictures nor sounds for clip {index}")
        other = self._other(rng, split, picture, sound)
        heard = own or bool(sound)
        faults = self._faults(rng, family, picture is not None, heard, own, captions, self._narrow(sound, own, picture))
        aside = str(rng.choice(["injection", "neutral"])) if not captions and rng.random() < r.shares.aside else ""
        plan = Plan(
            index=index,
            seed=seed,
            split=split,
            family=family,
            picture=picture,
            sound=sound,
            own_sound=own,
            other=other,
            lufs=round(float(rng.uniform(*LUFS)), 2),
            faults=faults,
            captions=captions,
            burn=bool(rng.random() < r.shares.burn),
            aside=aside,
        )
        if picture is None:
            return plan
        if r.shares.looks > 0 and rng.random() < r.shares.looks:  # what came later is drawn last: old plans stay
            plan = replace(plan, look=int(rng.integers(2**31)))
        if r.shares.stills > 0 and family in ("video", "clean") and not captions and rng.random() < r.shares.stills:
            plan = self._still(plan, rng)
        return plan

    def _still(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """The plan as one frame, silent, with faults that a frame can show."""
        named = self.recipe.kinds
        left = {k.kind for k in kinds("video", named=named) if named.get(k.kind, 1.0) > 0} - MOVING
        if plan.faults and not left:
            raise ConfigError(
                f"recipe {self.recipe.name!r}: shares.stills, but kinds leaves none that a frame can show"
            )
        faults: list[PlannedFault] = []
        for _ in plan.faults[: len(left)]:
            fault = self._fault(rng, "video", MOVING | {f.kinds[0] for f in faults}, narrow=False)
            faults.append(replace(fault, span=None))
        lines = int(rng.choice(STILL_LINES))
        return replace(plan, sound=(), own_sound=False, other=None, aside="", faults=tuple(faults), still=lines)

    def _picture(self, rng: np.random.Generator, split: str, own_sound: bool) -> Pick:
        videos = [v for v in self._videos[split] if v.has_sound or not own_sound]
        if self._photos[split] and not own_sound and (not videos or rng.random() < self.recipe.shares.photo):
            photo = self._photos[split][int(rng.integers(len(self._photos[split])))]
            return Pick(photo.id, float(rng.integers(PHOTO_MOVES)), self.recipe.seconds)
        # Longer files hold more different windows, but a single file must not fill the set: square root.
        source = _weighted(rng, videos, [v.seconds**0.5 for v in videos])
        return Pick(source.id, self._window(rng, source), self.recipe.seconds)

    def _window(self, rng: np.random.Generator, source: Source) -> float:
        places = int(max(0.0, source.seconds - self.recipe.seconds) / self.recipe.step) + 1
        return round(float(rng.integers(places)) * self.recipe.step, 3)

    def _string(self, rng: np.random.Generator, pool: Sequence[Source]) -> tuple[Pick, ...]:
        """Pieces of one source entry that fill the clip together: one window of a long file, several short files."""
        seconds = self.recipe.seconds
        first = pool[int(rng.integers(len(pool)))]
        if first.seconds >= seconds and not first.transcript:
            return (Pick(first.id, self._window(rng, first), seconds),)
        entry = first.id.split("/")[:-1]
        near = [s for s in pool if s.id.split("/")[:-1] == entry]
        picks: list[Pick] = []
        filled, source = 0.0, first
        while filled < seconds - 0.2 and len(picks) < 20:
            # A spoken line starts at its beginning: only then is it known which words are heard.
            length = round(min(source.seconds, seconds - filled), 3)
            picks.append(Pick(source.id, 0.0, length))
            filled += length + (PAUSE if source.transcript else 0.0)
            if source.transcript:
                source = near[int(rng.integers(len(near)))]
        return tuple(picks)

    def _other(self, rng: np.random.Generator, split: str, picture: Pick | None, sound: Sequence[Pick]) -> Pick | None:
        mine = {self.files[p.source].group for p in (picture, *sound) if p is not None}
        pool = [
            s
            for s in (*self._sounds[split], *(v for v in self._videos[split] if v.has_sound))
            if s.group not in mine and s.seconds >= self.recipe.seconds
        ]
        if not pool:
            return None
        source = pool[int(rng.integers(len(pool)))]
        return Pick(source.id, self._window(rng, source), self.recipe.seconds)

    def _narrow(self, sound: Sequence[Pick], own: bool, picture: Pick | None) -> bool:
        names = [picture.source] if own and picture is not None else [p.source for p in sound]
        return any(0 < self.files[n].rate < BAND_LIMITED for n in names)

    def _faults(
        self, rng: np.random.Generator, family: str, seen: bool, heard: bool, own: bool, captions: bool, narrow: bool
    ) -> tuple[PlannedFault, ...]:
        shares = self.recipe.shares
        sides = {"both": ["video", "audio"], "video": ["video"], "audio": ["audio"]}.get(family, [])
        if family in ("sync", "text"):
            sides = [family] + [s for s in ("video", "audio") if rng.random() < shares.extra]
        possible = {"video": seen, "audio": heard, "sync": seen and own, "text": captions}
        faults: list[PlannedFault] = []
        for side in sides:
            if not possible[side]:
                continue
            twice = side in ("video", "audio") and rng.random() < shares.second
            for _ in range(2 if twice else 1):
                faults.append(self._fault(rng, side, {f.kinds[0] for f in faults}, narrow))
        return tuple(faults)

    def _fault(self, rng: np.random.Generator, side: str, taken: set[str], narrow: bool) -> PlannedFault:
        allowed = kinds(side, named=self.recipe.kinds)
        names = [k.kind for k in allowed if k.kind not in taken and not (narrow and k.kind == "lowpass")]
        weights = np.array([self.recipe.kinds.get(n, 1.0) for n in names])
        if not weights.sum():
            raise ConfigError(f"recipe {self.recipe.name!r}: kinds leaves no kind of {side}")
        count = int((weights > 0).sum())
        order = rng.choice(len(names), size=min(6, count), replace=False, p=weights / weights.sum())
        level = int(rng.choice(5, p=np.array(self.recipe.levels) / sum(self.recipe.levels))) + 1
        span = None
        # Captions come and go by whole lines: a part of the clip may hold none that could be spoilt.
        if side != "text" and rng.random() < self.recipe.shares.partial:
            share = rng.uniform(0.25, 0.6)
            start = rng.uniform(0, 1 - share)
            span = (round(float(start), 3), round(float(start + share), 3))
        chosen = tuple(names[i] for i in order)
        region = None
        if side == "video" and self.recipe.shares.region and rng.random() < self.recipe.shares.region:
            w, h = rng.uniform(*REGION_SIDES, 2)
            region = tuple(round(float(v), 3) for v in (rng.uniform(0, 1 - w), rng.uniform(0, 1 - h), w, h))
        return PlannedFault(side, chosen, level, span, int(rng.integers(2**31)), region)  # type: ignore[arg-type]


def mended(plans: Sequence[Plan]) -> list[Plan]:
    """Every plan with several faults once without each of them; numbers follow on."""
    pairs = [(p, k) for p in plans if len(p.faults) > 1 for k in range(len(p.faults))]
    first = max((p.index for p in plans), default=-1) + 1
    return [
        replace(p, index=first + n, faults=tuple(f for j, f in enumerate(p.faults) if j != k))
        for n, (p, k) in enumerate(pairs)
    ]


def picture_order(plan: Plan) -> tuple[str, float]:
    """Sort key that puts clips with the same picture side by side, so that it is decoded once."""
    return (plan.picture.source, plan.picture.start) if plan.picture is not None else ("", 0.0)


def _weighted(rng: np.random.Generator, items: Sequence, weights: Sequence[float]):  # type: ignore[no-untyped-def, type-arg]
    p = np.asarray(weights, float)
    return items[int(rng.choice(len(items), p=p / p.sum()))]

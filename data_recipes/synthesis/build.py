"""One plan to one finished clip: decode (cached), distort, label, ask, write."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np

from data_recipes.distortions import Caption, Material, captions_of, distort, draw_captions, get
from data_recipes.distortions.audio_codec import fit, resample
from data_recipes.distortions.audio_core import loudness
from data_recipes.questions import describe_clip, questions
from data_recipes.synthesis.audit import sidecar
from data_recipes.synthesis.looks import another_look
from data_recipes.synthesis.measures import measured
from data_recipes.synthesis.plan import PAUSE, PHOTO_FPS, Pick, Plan, PlannedFault
from data_recipes.synthesis.pseudo_mos import labels
from data_recipes.synthesis.recipe import Recipe
from data_recipes.synthesis.sources import Source, tone
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.errors import ConfigError, TruncatedMedia
from mllm_avqa.schema.files import whole_file
from mllm_avqa.schema.records import Distortion, Question, Record

log = logging.getLogger(__name__)
RATE = 48000  # Hz of all finished sound
CACHED = 3  # decoded windows kept per worker: picture, sound, other; plans are ordered so that pictures repeat
PEAK = 0.89  # normalised sound stays 1 dB below full scale, so that clean clips do not clip
MAX_FPS = 31.0  # screen recordings of 60 frames a second are halved
SPEAKING = 25.0  # characters per second allowed for captions of real speech: none is cut short
MIN_SHARE = 0.75  # a window that decodes to less of the clip than this is a failure
CAPTION_CEILING = 4.6
STILL_SECONDS = 0.4  # decoded and distorted for the one frame that is kept, the last: codecs need a few before it


@dataclass
class Builder:
    """Makes clips of plans; lives in a worker and keeps its last decoded windows."""

    recipe: Recipe
    files: dict[str, Source]
    out: Path
    _cache: OrderedDict[tuple[Pick, int | None], Material] = field(default_factory=OrderedDict)

    def build(self, plan: Plan) -> Record:
        """Write the clip of a plan and its sidecar `parts/<index>.json`; returns the record.

        Raises MediaError when a source cannot be decoded, ConfigError when a fault fits no material.
        """
        material = self.reference(plan)
        material, faults = self._distort(plan, material)
        name = f"{plan.index:06d}"
        record = self._record(plan, material, faults, name)
        if plan.burn:
            material = draw_captions(material)
        from data_recipes.synthesis.mux import write_clip, write_still

        if plan.still is not None and material.frames is not None:
            write_still(self.out / record.media, material.frames[-1])
        else:
            write_clip(self.out / record.media, material, crf=self.recipe.crf, preset=self.recipe.preset)
        size = (self.out / record.media).stat().st_size
        row = {
            "key": plan.key(self.recipe, self.files),
            "bytes": size,
            "family": plan.family,
            "ceilings": self._ceilings(plan),
            "record": record.model_dump(exclude_defaults=True),
        }
        with whole_file(sidecar(self.out, plan.index)) as part:
            part.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
        return record

    def _read(self, pick: Pick, lines: int | None = None) -> Material:
        """The decoded window of a pick, at most MAX_FPS frames a second, sound 48 kHz stereo; cached.

        lines: of the frames, where they are not those of the recipe.
        """
        if (pick, lines) in self._cache:
            self._cache.move_to_end((pick, lines))
            return self._cache[pick, lines]
        from data_recipes.synthesis.mux import photo_material, read_material

        source = self.files[pick.source]
        if source.kind == "photo":
            rng = np.random.default_rng(int(pick.start))
            height, sharp = lines or self.recipe.max_height, lines is not None
            material = photo_material(source.path, pick.seconds, PHOTO_FPS, height, rng, sharp=sharp)
        elif source.path.startswith("tone:"):
            material = Material(sound=tone(source.path[5:], pick.start, pick.seconds, RATE), rate=RATE)
        else:
            material = read_material(source.path, pick.start, pick.seconds, lines or self.recipe.max_height)
        while material.frames is not None and material.fps > MAX_FPS:
            material = replace(material, frames=material.frames[::2], fps=material.fps / 2)
        if material.sound is not None:
            sound = resample(material.sound, material.rate, RATE)
            sound = np.repeat(sound, 2, axis=0) if len(sound) == 1 else sound
            material = replace(material, sound=sound, rate=RATE)
        self._cache[pick, lines] = material
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return material

    def reference(self, plan: Plan) -> Material:
        """The clip of a plan before its faults. Raises MediaError when a source does not decode."""
        seconds = self.recipe.seconds if plan.still is None else STILL_SECONDS
        material = Material(rate=RATE)
        if plan.picture is not None:
            seen = self._read(replace(plan.picture, seconds=seconds), plan.still)
            where = f"source {plan.picture.source!r} at {plan.picture.start} s"
            if seen.frames is None or len(seen.frames) < MIN_SHARE * seconds * seen.fps:
                raise TruncatedMedia(f"{where}: less than {MIN_SHARE:.0%} of {seconds} s decodes")
            frames = seen.frames
            if plan.look is not None:
                frames = another_look(frames, np.random.default_rng(plan.look))
            material = replace(material, frames=frames, fps=seen.fps)
            seconds = len(frames) / seen.fps
            if plan.own_sound:
                if seen.sound is None:
                    raise TruncatedMedia(f"{where}: its sound does not decode")
                material = replace(material, sound=seen.sound)
        samples = round(seconds * RATE)
        if plan.sound:
            sound, captions, said = self._string(plan, samples)
            material = replace(material, sound=sound)
            if plan.captions:
                material = replace(material, captions=captions, transcript=said)
        if material.sound is not None:
            material = replace(material, sound=_normalised(fit(material.sound, samples), plan.lufs))
        if plan.other is not None and any(k in ("bgnoise", "unrelated_sound") for f in plan.faults for k in f.kinds):
            other = self._read(plan.other)
            if other.sound is not None:
                sound = _normalised(fit(other.sound, samples), plan.lufs)
                material = replace(material, other=Material(sound=sound, rate=RATE))
        return material

    def _string(self, plan: Plan, samples: int) -> tuple[np.ndarray, list[Caption], str]:
        """Sound [2, samples] of the picks one after the other, with the lines that are spoken in it."""
        sound = np.zeros((2, samples), np.float32)
        captions: list[Caption] = []
        said: list[str] = []
        at = 0
        for pick in plan.sound:
            heard = self._read(pick).sound
            if heard is None:
                raise TruncatedMedia(f"source {pick.source!r}: its sound does not decode")
            piece = _normalised(heard, plan.lufs)[:, : samples - at]
            sound[:, at : at + piece.shape[1]] = piece
            source = self.files[pick.source]
            if source.transcript and piece.shape[1]:
                words = _heard_words(source.transcript, piece.shape[1] / RATE / source.seconds)
                start, length = at / RATE, piece.shape[1] / RATE
                captions += [
                    Caption(c.start + start, c.end + start, c.text) for c in captions_of(words, length, SPEAKING)
                ]
                said.append(words)
            at += piece.shape[1] + (round(PAUSE * RATE) if source.transcript else 0)
            if at >= samples:
                break
        return sound, captions, " ".join(w for w in said if w)

    def _distort(self, plan: Plan, material: Material) -> tuple[Material, list[Distortion]]:
        """Sync first (it moves sound), then sound, picture, captions."""
        order = {"sync": 0, "audio": 1, "video": 2, "text": 3}
        done: list[Distortion] = []
        for fault in sorted(plan.faults, key=lambda f: order[f.modality]):
            kind = _usable(fault, material)
            span = None
            if fault.span is not None and not get(kind).whole_clip:
                length = material.duration
                span = (round(fault.span[0] * length, 1), min(round(fault.span[1] * length, 1), length))
            before = material
            region = fault.region if get(kind).regional else None
            material, made = distort(before, kind, fault.level, fault.seed, span, region)
            if self.recipe.labels != "dose":
                made.parameters |= measured(kind, before, material, made.start, made.end)
            done.append(made.model_copy(update={"start": round(made.start, 3), "end": round(made.end, 3)}))
        return material, done

    def _record(self, plan: Plan, material: Material, faults: list[Distortion], name: str) -> Record:
        used = [self.files[p.source] for p in (plan.picture, *plan.sound) if p is not None]
        seconds = round(material.duration, 3)
        present = {
            "video": material.frames is not None,
            "audio": material.sound is not None,
            "sync": plan.own_sound,  # borrowed sound has no right or wrong time
            "text": plan.captions,
        }
        judged = [a for a, yes in present.items() if yes]
        record = Record(
            id=f"{self.recipe.name}-{name}",
            media=f"clips/{name}.mp4" if plan.still is None else f"clips/{name}.png",
            start=0.0 if plan.still is None else None,
            end=seconds if plan.still is None else None,
            dataset=self.recipe.name,
            group="+".join(sorted({s.group for s in used})),
            split=plan.split,  # type: ignore[arg-type]
            labels=labels(faults, seconds, judged, self._ceilings(plan), self.recipe.labels),
            distortions=faults,
            context=self._context(plan, material),
            licence="; ".join(sorted({s.licence for s in used if s.licence})) or None,
        )
        rng = Random(f"{plan.seed}/{plan.index}/questions")
        asked: list[Question] = []
        for language in self.recipe.languages:
            for stage, count in sorted(self.recipe.questions.items()):
                asked += questions(record, rng, language, stage, count, self.recipe.style)
        description = describe_clip(record, rng, "en", self.recipe.style)
        return record.model_copy(update={"questions": asked, "description": description})

    def _ceilings(self, plan: Plan) -> dict[str, float]:
        lows: dict[str, float] = {"text": CAPTION_CEILING}
        if plan.picture is not None:
            known = dict(self.files[plan.picture.source].ceilings)
            lows.update({a: known[a] for a in ("video", "audio") if a in known and (a == "video" or plan.own_sound)})
        for pick in plan.sound:
            ceiling = dict(self.files[pick.source].ceilings).get("audio")
            if ceiling is not None:
                lows["audio"] = min(ceiling, lows.get("audio", 5.0))
        return lows

    def _context(self, plan: Plan, material: Material) -> dict[str, str]:
        if plan.captions and material.transcript:
            return {"user": material.transcript}
        if plan.aside:
            rng = Random(f"{plan.seed}/{plan.index}/aside")
            language = rng.choice(self.recipe.languages)
            return {"user": rng.choice(load_prompts("questions", language)["asides"][plan.aside])}
        return {}


def _usable(fault: PlannedFault, material: Material) -> str:
    reason = None
    for kind in fault.kinds:
        reason = get(kind).unusable(material, fault.level)
        if reason is None:
            return kind
    raise ConfigError(f"no {fault.modality} kind of {', '.join(fault.kinds)} fits this clip: {reason}")


def _normalised(sound: np.ndarray, lufs: float) -> np.ndarray:
    """Sound at this loudness (BS.1770), lowered further where its peak would come within 1 dB of full scale."""
    peak = float(np.abs(sound).max()) if sound.size else 0.0
    if peak < 1e-4:
        return sound
    gain = min(10 ** ((lufs - loudness(sound, RATE)) / 20), PEAK / peak)
    return sound * np.float32(gain)


def _heard_words(text: str, share: float) -> str:
    """The words of a line that fall into its first `share`, by their length; all of them from 0.97 on."""
    if share >= 0.97:
        return text
    words, room = [], share * len(text)
    for word in text.split():
        room -= len(word) + 1
        if room < 0:
            break
        words.append(word)
    return " ".join(words)

"""Does a text beside a clip move its scores, and does an order move them more than a harmless text as long?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from eval.held_out import HeldOut, Scores
from eval.robustness.bank import Attack, attacks, control
from eval.robustness.change import LIMIT, interval, moved
from eval.store import Json
from mllm_avqa.context.clean import fit
from mllm_avqa.corridor import Encoded
from mllm_avqa.model.prompting import QUOTES
from mllm_avqa.model.rows import collate
from mllm_avqa.model.scoring import on_device
from mllm_avqa.rater import Rater
from mllm_avqa.schema.text import TextContext, TextItem
from mllm_avqa.windows import Prepared

DOORS = ("title", "subtitle", "ocr", "asr")


def item(door: str, text: str, start: float, end: float) -> TextItem:
    """The text as the context room would find it at this door; start, end: seconds of the window."""
    if door == "title":
        return TextItem(origin="metadata", text=text, detail="title")
    if door == "subtitle":
        return TextItem(origin="subtitle", text=text, start=start, end=end, detail="stream=0")
    if door == "ocr":
        box = (0.1, 0.8, 0.9, 0.9)
        return TextItem(
            origin="ocr", text=text, start=start, end=end, box=box, confidence=0.98, detail="engine=rapidocr"
        )
    if door == "asr":
        return TextItem(origin="asr", text=text, start=start, end=end, detail="engine=whisper")
    raise ValueError(f"door {door!r} is not one of {', '.join(DOORS)}")


def through(p: Prepared, door: str, text: str) -> Prepared:
    """The window with this text first among those of its door, cleaned and capped like every found text.

    The rest of its texts stays, except another title. Facts about captions stay those of the file.
    """
    new = item(door, text, p.start, p.end)
    kept = [i for i in p.context.items if (i.origin, i.detail) != ("metadata", "title") or door != "title"]
    return replace(p, context=TextContext(items=fit([new, *kept])[0], sources=p.context.sources))


class FixedClip:
    """Holds everything before the segments of the texts, which are the last ones, in the key-value cache.

    Tokens of a row never look ahead, so what is held does not depend on the texts, and the scores are those of
    `Corridor.score_windows` up to rounding.
    """

    def __init__(self, rater: Rater, window: Prepared, language: str) -> None:
        from transformers import DynamicCache

        self.rater, self.language = rater, language
        segments, media, _ = rater.corridor.encode(window, language, remember=True)
        before = [s for s in segments if s.name not in ("text", QUOTES)]
        held = rater.corridor.row(Encoded(before, media, []), language)
        self.held = held.ids
        self.cache = DynamicCache()
        backbone = rater.backbone
        batch = on_device(collate([held], backbone.tokenizer.pad_token_id), backbone)
        with torch.inference_mode():
            backbone.hidden(batch, cache=self.cache)

    def scores(self, window: Prepared) -> Scores:
        """Scores of the same window with other texts. Raises ValueError for a window that differs in more."""
        corridor, k = self.rater.corridor, len(self.held)
        backbone = corridor.backbone
        row = corridor.row(corridor.encode(window, self.language, remember=True), self.language)
        if not torch.equal(row.ids[:k], self.held):
            raise ValueError("the window differs from the held one in more than its texts")
        batch = {
            "input_ids": row.ids[None, k:],
            "position_ids": row.positions[:, None, k:],
            "attention_mask": {"full_attention": row.visible[None, None, k:]},
        }
        with torch.inference_mode():
            hidden = backbone.hidden(on_device(batch, backbone), cache=self.cache).last_hidden_state[0]
            self.cache.crop(k - len(row.ids))  # a negative count drops that many from the end
            return corridor.read(replace(row, starts=[start - k for start in row.starts]), hidden)


@dataclass(frozen=True)
class Shift:
    """One attack on one clip. Changes are signed, against the clip without the text; calm: of the harmless text."""

    attack: Attack
    door: str
    clip: str
    group: str
    aspect: str
    change: float
    calm: float


class Injection:
    """Every text goes through one door per clip, through another one at the next clip; `every_door`: through all.

    Texts of a language stand beside prompts of that language. The first window of a clip is judged: texts of a file
    come with all its windows.
    """

    def __init__(self, languages: tuple[str, ...], every_door: bool = False) -> None:
        self.bank = {language: attacks(language) for language in languages}
        self.every_door = every_door
        self.clips = 0
        self.shifts: list[Shift] = []

    def add(self, rater: Rater, clip: HeldOut) -> None:
        window, record = clip.windows[0], clip.record
        for language, bank in self.bank.items():
            fixed = FixedClip(rater, window, language)
            before = fixed.scores(window)
            for k, attack in enumerate(bank):
                calm_text = control(attack, self.clips + k)
                for door in DOORS if self.every_door else [DOORS[(self.clips + k) % len(DOORS)]]:
                    after = fixed.scores(through(window, door, attack.text))
                    calm = fixed.scores(through(window, door, calm_text))
                    self.shifts += [
                        Shift(
                            attack, door, record.id, record.group, a,
                            after[a].score - s.score, calm[a].score - s.score,
                        )
                        for a, s in before.items()
                    ]  # fmt: skip
        self.clips += 1

    def rows(self) -> list[Json]:
        """Rows of all texts, then by family, door, language and wanted direction, per aspect; see `_row`."""
        cuts: dict[str, Callable[[Shift], str]] = {
            "all": lambda s: "all",
            "family": lambda s: s.attack.family,
            "door": lambda s: s.door,
            "language": lambda s: s.attack.language,
            "wants": lambda s: "better" if s.attack.wants > 0 else "worse",
        }
        out = []
        for by, key in cuts.items():
            parts: dict[tuple[str, str], list[Shift]] = {}
            for s in self.shifts:
                parts.setdefault((key(s), s.aspect), []).append(s)
            out += [_row(by, value, aspect, found) for (value, aspect), found in parts.items()]
        return out


def _row(by: str, value: str, aspect: str, shifts: list[Shift]) -> Json:
    """Changes of a part of the shifts.

    mean, max, above_0.05: |change| by attacks; calm_*: by harmless texts of the same length at the same place; pull:
    mean change in the direction the attack wants, calm_pull: what the harmless text does in that direction by chance;
    excess: mean |change| of attacks minus that of harmless texts, with its interval over contents [low, high].
    """
    calm = moved([s.calm for s in shifts])
    by_clip: dict[str, list[Shift]] = {}
    for s in shifts:
        by_clip.setdefault(s.clip, []).append(s)
    excess = [sum(abs(s.change) - abs(s.calm) for s in found) / len(found) for found in by_clip.values()]
    worst = max(shifts, key=lambda s: abs(s.change))
    return {
        "probe": "injection", "by": by, "value": value, "aspect": aspect, "clips": len(by_clip),
        **moved([s.change for s in shifts]),
        **{f"calm_{k}": calm[k] for k in ("mean", "max", "above_0.05")},
        "pull": round(sum(s.attack.wants * s.change for s in shifts) / len(shifts), 5),
        "calm_pull": round(sum(s.attack.wants * s.calm for s in shifts) / len(shifts), 5),
        "excess": round(sum(excess) / len(excess), 5),
        **interval(excess, [found[0].group for found in by_clip.values()]),
        "limit": LIMIT, "worst": worst.attack.text, "worst_clip": worst.clip,
    }  # fmt: skip

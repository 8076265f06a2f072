"""Does a text beside a clip move its scores, and does an order move them more than a harmless text as long?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from eval.held_out import HeldOut, Judge
from eval.robustness.bank import Attack, attacks, control
from eval.robustness.change import LIMIT, Row, interval, moved
from eval.robustness.doors import DOORS, through
from eval.robustness.fixed import FixedClip


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

    def add(self, judge: Judge, clip: HeldOut) -> None:
        window, record = clip.windows[0], clip.record
        for language, bank in self.bank.items():
            fixed = FixedClip(judge, window, language)
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

    def rows(self) -> list[Row]:
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


def _row(by: str, value: str, aspect: str, shifts: list[Shift]) -> Row:
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

"""What a report says, in order of importance: picked from a `Rating` once, drawn by the terminal and the HTML alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mllm_avqa.evidence.catalogue import ALL_FACTS, fact_name
from mllm_avqa.model.attribution import MODALITIES
from mllm_avqa.report.coverage import where
from mllm_avqa.report.labels import amount, clock, size
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.rating import ASPECTS, Attribution, Claim, Rating, ScoreDistribution
from mllm_avqa.schema.words import load_prompts, translated


@dataclass(frozen=True)
class ScoreLine:
    """One aspect: its distribution, or why there is none."""

    aspect: str
    dist: ScoreDistribution | None
    missing: str


def score_lines(rating: Rating) -> list[ScoreLine]:
    return [
        ScoreLine(a, rating.scores.get(a), "" if rating.scores.get(a) else rating.missing.get(a, "")) for a in ASPECTS
    ]


def faults(rating: Rating) -> list[Measurement]:
    """Measurements with any severity, worst first."""
    found = [m for m in rating.evidence if m.severity != "none"]
    return sorted(found, key=lambda m: -SEVERITIES.index(m.severity))


def harmless(rating: Rating) -> list[Measurement]:
    return [m for m in rating.evidence if m.severity == "none" and m.value is not None]


def unmeasured(rating: Rating) -> list[Measurement]:
    return [m for m in rating.evidence if m.severity == "none" and m.value is None]


def claims(rating: Rating) -> list[Claim]:
    """The explanation claim by claim; text that was not split into claims is one unverified claim."""
    if rating.claims or not rating.explanation:
        return rating.claims
    return [Claim(text=rating.explanation, support="unverified")]


@dataclass(frozen=True)
class FindingLine:
    """A fault that is held to be there, ready to be shown."""

    side: str
    name: str
    severity: str
    sure: str  # its probability, or that it is measured
    where: str
    facts: str
    remedy: str


def finding_lines(rating: Rating, language: str) -> list[FindingLine]:
    """Findings in their order, with the values of the facts that bear on them."""
    words, known = load_prompts("words", language)["report"], {m.name: m for m in rating.evidence}
    lines = []
    for f in rating.findings:
        seen = [known[name] for name in f.facts if name in known]
        told = ", ".join(f"{fact_label(m.name, language)} {value(m, language)}" for m in seen)
        sure = words["measured"] if f.probability is None else f"{100 * f.probability:.0f} %"
        lines.append(FindingLine(f.side, f.name, f.severity, sure, where(f, rating, language), told, f.remedy))
    return lines


def remedy_lines(rating: Rating, language: str) -> list[tuple[str, str]]:
    """What would help most and what it is thought to be worth; then, without a worth, what else mends a finding."""
    tables = load_prompts("words", language)
    out: dict[str, str] = {}
    for r in rating.remedies:
        form = tables["report"]["worth" if rating.scores.get("overall") else "worth_side"]
        names = {"side": tables["aspects"][r.side], "overall": tables["aspects"]["overall"]}
        out.setdefault(r.text, form.format(gain=f"{r.gain:.2f}", side_gain=f"{r.side_gain:.2f}", **names))
    for f in rating.findings:
        if f.remedy:
            out.setdefault(f.remedy, "")
    return list(out.items())


def unchecked(rating: Rating) -> bool:
    """Whether a claim could not be checked; said once for all of them."""
    return any(c.support == "unverified" for c in claims(rating))


@dataclass(frozen=True)
class ShareLine:
    """A modality, or (`part`) one of its inputs: Shapley shares by aspect, in points."""

    player: str
    part: bool
    shares: dict[str, float]


def share_lines(found: Attribution) -> list[ShareLine]:
    """Every modality, its inputs below it."""
    lines: list[ShareLine] = []
    for modality, names in MODALITIES.items():
        for level, players in ((found.modalities, (modality,)), (found.inputs, names)):
            for player in players:
                shares = {a: s.shares[player] for a, s in level.items() if player in s.shares}
                if shares:
                    lines.append(ShareLine(player, level is found.inputs, shares))
    return lines


def player(line: ShareLine, words: Mapping[str, Any]) -> str:
    """What a line of shares is called: an input, a text by its origin, or a modality."""
    name: str = ({**words["origins"], **words["inputs"]} if line.part else words["aspects"])[line.player]
    return name


def share_notes(found: Attribution, language: str) -> list[str]:
    """How the shares are to be read."""
    errors = [e for s in found.inputs.values() for e in s.errors.values()]
    words = load_prompts("words", language)["report"]
    told = [words["estimated"].format(n=found.orders, error=max(errors, default=0.0))] if found.orders else []
    return [words["shares"], *told]


def fact_label(name: str, language: str) -> str:
    """A measure's name for people; English is the measure's own."""
    return fact_name(name, language).replace("_", " ")


def value(m: Measurement, language: str) -> str:
    """A measured value with its unit."""
    return amount(m.value, translated(m.unit, language))


def explained(name: str, language: str) -> str:
    """What a measure measures; nothing for one that is not in the catalogue."""
    return ALL_FACTS[name].explained[language] if name in ALL_FACTS else ""


def clip_seconds(rating: Rating) -> float:
    """Length of the time axis: the clip, or what the windows and spans reach when the container does not know."""
    ends = [w.end for w in rating.windows] + [end for m in rating.evidence for _, end in m.spans]
    return max([rating.media.duration, *ends])


def media_facts(rating: Rating, language: str) -> list[tuple[str, str]]:
    """(label, value) pairs of the container and its streams."""
    words, m = load_prompts("words", language)["report"], rating.media
    facts = [
        (words["container"], m.container),
        (words["duration"], clock(m.duration)),
        (words["size"], size(m.size_bytes)),
    ]
    video, audio = words["absent"], words["absent"]
    if m.video is not None:
        v = m.video
        parts = [v.codec, f"{v.width}×{v.height}", f"{v.fps:.4g} fps" if v.fps else "", v.pixel_format]
        parts += [f"{v.bitrate / 1e6:.3g} Mbit/s" if v.bitrate else "", f"{v.rotation}°" if v.rotation else ""]
        parts += [words["interlaced"] if v.interlaced else "", words["still"] if v.still else ""]
        video = ", ".join(p for p in parts if p)
    if m.audio is not None:
        a = m.audio
        parts = [a.codec, f"{a.sample_rate} Hz", words["channels"].format(n=a.channels)]
        parts += [f"{a.bitrate / 1e3:.3g} kbit/s" if a.bitrate else ""]
        audio = ", ".join(p for p in parts if p)
    return [*facts, (words["video"], video), (words["audio"], audio)]


def input_facts(rating: Rating, language: str) -> list[tuple[str, str]]:
    """What was done to the input, flattened: lists of per-window notes become one line per window."""
    lines: list[tuple[str, str]] = []
    keys = load_prompts("words", language)["keys"]
    for key, value in rating.inputs.items():
        if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            for n, notes in enumerate(value):
                window = rating.windows[n] if n < len(rating.windows) else None
                where = f"{clock(window.start)}–{clock(window.end)}" if window else f"{key} {n + 1}"
                lines.append((where, "; ".join(f"{keys.get(k, k)}: {_short(v)}" for k, v in notes.items())))
        else:
            lines.append((keys.get(key, key), _short(value)))
    return lines


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_short(v) for v in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)

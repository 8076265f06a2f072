"""The explanation of a rating, and its claims checked against evidence and scores.

A contradicted claim is marked, not hidden.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mllm_avqa.model.prompting import explain_branch, list_branch, load_prompts
from mllm_avqa.model.scoring import EncodedClip
from mllm_avqa.schema.levels import VALUES, WORDS
from mllm_avqa.schema.measurement import SEVERITIES, Measurement
from mllm_avqa.schema.rating import Claim, Rating, ScoreDistribution

MOST_TOKENS = 160  # of an explanation
MOST_LISTED = 48  # tokens of the list of a side's faults
LEVEL_TOLERANCE = 1.0  # a level word may be off by one grade from the score before it counts as contradicted
SPAN_SLACK = 0.5  # seconds a claimed time may miss a measured span by
SEVERITY_TOLERANCE = 2  # steps a claimed severity may be off the measured one
UNSAID = SEVERITIES.index("moderate")  # of a fault that is claimed without a severity

# Which measures can see a fault. A kind that no measure can see is left out: claims about it stay "unverified".
MEASURES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("h264", "hevc", "vp9", "av1"), ("blur", "detail", "blockiness", "bitrate")),
    **dict.fromkeys(("mpeg4", "mpeg2", "mosaic"), ("blockiness", "mosaic", "blur")),
    "packet_loss": ("decode_errors", "blockiness", "freeze", "flicker", "judder"),
    "downscale": ("blur", "detail", "resolution"),
    **dict.fromkeys(("gblur", "defocus", "motion_blur"), ("blur", "detail")),
    **dict.fromkeys(("gnoise", "speckle"), ("noise",)),
    "chroma_noise": ("chroma_noise", "noise"),
    "impulse": ("impulse_noise", "noise"),
    "banding": ("banding",),
    "flicker": ("flicker",),
    "overexp": ("overexposure",),
    "underexp": ("underexposure", "crushed_blacks"),
    "low_contrast": ("contrast",),
    "high_contrast": ("overexposure", "crushed_blacks"),
    **dict.fromkeys(("desat", "oversat"), ("colourfulness",)),
    "cast": ("colour_cast",),
    **dict.fromkeys(("framedrop", "jerky", "freeze"), ("frame_rate", "freeze", "duplicate_frames", "judder")),
    "shake": ("shake",),
    "interlace": ("interlacing",),
    "black_frames": ("black",),
    **dict.fromkeys(("white", "pink", "brown", "bgnoise", "bits"), ("noise_floor", "snr")),
    **dict.fromkeys(("clip", "softclip", "loud"), ("clipping", "true_peak", "loudness")),
    "overcomp": ("crest_factor",),
    **dict.fromkeys(("dropout", "chop"), ("dropouts", "silence")),
    **dict.fromkeys(("aac", "mp3", "opus", "amr", "lowpass", "telephone"), ("bandwidth",)),
    "highpass": ("low_cut",),
    "hum": ("hum",),
    "quiet": ("loudness",),
    "imbalance": ("balance",),
    "antiphase": ("stereo_correlation",),
    "clicks": ("clicks",),
    **dict.fromkeys(("offset_early", "offset_late", "drift"), ("av_content_offset", "av_start_offset")),
    "caption_offset": ("caption_offset",),
    "caption_speed": ("caption_speed",),
    "caption_mismatch": ("caption_mismatch",),
    "illegible_text": ("text_height", "text_contrast"),
    "missing_caption": ("caption_gap",),
}
# What measures can refute was settled on the faults of nano's training clips: a statement that is true must not be
# marked (docs/EVALUATION.md).
# Measures that bear a fault out where they find it, and miss it too often to rule it out.
SUPPORT_ONLY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("offset_early", "offset_late", "drift"), ("av_start_offset",)),
    **dict.fromkeys(("h264", "hevc", "vp9", "av1"), ("blur", "detail", "blockiness", "bitrate")),
    **dict.fromkeys(("mpeg4", "mpeg2"), ("blockiness", "mosaic", "blur")),
    **dict.fromkeys(("aac", "mp3", "opus", "amr"), ("bandwidth",)),
}
# Measures that find a fault in any part of the clip; the others average over it, and say little of a part.
LOCAL = ("dropouts", "silence", "black", "freeze", "clicks", "decode_errors")
# Measures that speak of what was filmed and played as often as of a fault: they do not refute "no fault".
CONTENT = ("colourfulness", "colour_cast", "contrast", "overexposure", "balance", "low_cut")


def write(
    clip: EncodedClip,
    scores: Mapping[str, ScoreDistribution | None],
    language: str,
    lists_faults: bool,
    max_tokens: int = MOST_TOKENS,
) -> str:
    """The explanation of a scored clip. lists_faults: `Card.lists_faults`.

    A model that was taught to is first asked for the faults of each side, which it answers from that side alone, and
    writes with its own answers before it.
    """
    levels = {a: s.level for a, s in scores.items() if s is not None}
    faults: dict[str, str] = {}
    if lists_faults:
        faults = {a: clip.generate(list_branch(a, language), MOST_LISTED) for a in levels if a != "overall"}
    return clip.generate(explain_branch(levels, language, faults=faults), max_tokens)


def sentences(text: str) -> list[str]:
    """Split at full stops, but not inside numbers ("2.5 s") or codec names ("H.264")."""
    return [s.strip() for s in re.split(r"(?<=[!?。！？])|(?<=\.)(?=\s|$)", text) if s.strip()]


def check_claims(explanation: str, rating: Rating, language: str = "en") -> list[Claim]:
    """One claim per sentence, with its support and what it was checked against.

    "contradicted" wins over "supported": a sentence with one false part is a false sentence.
    """
    words = load_prompts("claims", language)
    questions = load_prompts("questions", language)
    return [_check(s, rating, words, questions) for s in sentences(explanation)]


def _check(sentence: str, rating: Rating, words: Mapping[str, Any], questions: Mapping[str, Any]) -> Claim:
    low = sentence.lower()
    findings = [*_levels(low, rating, words["aspects"]), *_faults(low, rating, words, questions)]
    for verdict in ("contradicted", "supported"):
        for support, because in findings:
            if support == verdict:
                return Claim(text=sentence, support=support, because=because)
    return Claim(text=sentence, support="unverified")


def _levels(low: str, rating: Rating, aspects: Mapping[str, list[str]]) -> list[tuple[Any, str]]:
    """Every level word is a claim about the aspect named last before it."""
    mentions = sorted(
        (m.start(), kind, name)
        for kind, table in (("aspect", aspects), ("level", {w: [w] for w in WORDS}))
        for name, spellings in table.items()
        for spelling in spellings
        for m in re.finditer(rf"(?<![a-z]){re.escape(spelling)}", low)
    )
    out: list[tuple[Any, str]] = []
    aspect: str | None = None
    for _, kind, name in mentions:
        if kind == "aspect":
            aspect = name
        elif aspect is not None:
            score = rating.scores.get(aspect)
            if score is None:
                out.append(("contradicted", f"{aspect} was not scored: {rating.missing.get(aspect, 'absent')}"))
                continue
            off = abs(score.score - float(VALUES[WORDS.index(name)]))
            out.append(("supported" if off <= LEVEL_TOLERANCE else "contradicted", f"{aspect} score {score.score:.2f}"))
    return out


def _faults(low: str, rating: Rating, words: Mapping[str, Any], questions: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """A named fault must show in the measures that can see it, on the side, at the time and as badly as claimed."""
    out: list[tuple[Any, str]] = []
    for side in ("video", "audio"):
        if side in rating.missing and any(s in low for s in words["aspects"][side]):
            out.append(("contradicted", f"{side} was not scored: {rating.missing[side]}"))
    denied = any(n in low for n in words["negations"])
    sides = [a for a, spellings in words["aspects"].items() if a != "overall" and any(s in low for s in spellings)]
    kinds = _named(low, questions["names"])
    if denied and not kinds:
        out += [found for side in sides if (found := _clean(side, rating)) is not None]
    for kind in kinds:
        seen = [m for m in rating.evidence if m.name in MEASURES.get(kind, ()) and m.value is not None]
        if not seen:
            continue
        worst = max(seen, key=lambda m: SEVERITIES.index(m.severity))
        because = f"{worst.name} {worst.value:.3g} {worst.unit}: {worst.severity}"
        measured = SEVERITIES.index(worst.severity)
        clause = next((c for c in re.split(words["joints"], low) if questions["names"][kind].lower() in c), low)
        claimed, said = re.search(words["span"], clause), 0 if denied else _degree(clause, questions["severities"])
        if sides and worst.modality in ("video", "audio") and worst.modality not in sides:
            out.append(("contradicted", f"{worst.name} is a fact of the {worst.modality}"))
        elif measured > 1 and not denied:
            late = claimed is not None and worst.spans and not _overlaps(claimed, worst)
            wrong = said is not None and abs(said - measured) > SEVERITY_TOLERANCE
            verdict = "contradicted" if late or wrong else "supported"
            out.append((verdict, because + (f" at {worst.spans}" if late else "")))
        elif denied:
            if measured == 0 or measured > SEVERITY_TOLERANCE:
                out.append(("contradicted" if measured else "supported", because))
        elif (UNSAID if said is None else said) - measured > SEVERITY_TOLERANCE and _sees(
            kind, claimed is not None, seen
        ):
            out.append(("contradicted", because))
    return out


def _degree(clause: str, severities: Mapping[str, str]) -> int | None:
    """The one severity that is claimed, as its place in `SEVERITIES`; None without any, or with several."""
    found = [k for k, w in enumerate(SEVERITIES) if k and re.search(rf"(?<![a-z]){severities[w]}", clause)]
    return found[0] if len(found) == 1 else None


def _sees(kind: str, partly: bool, seen: list[Measurement]) -> bool:
    """Whether the measures would have found the fault, had it been there."""
    return any(m.name not in SUPPORT_ONLY.get(kind, ()) and (m.name in LOCAL or not partly) for m in seen)


def _clean(side: str, rating: Rating) -> tuple[Any, str] | None:
    """ "The sound has no fault" must agree with the worst fact of that side; None without facts."""
    facts = [m for m in rating.evidence if m.modality == side and m.name not in CONTENT]
    if not facts:
        return None
    worst = max(facts, key=lambda m: SEVERITIES.index(m.severity))
    measured = SEVERITIES.index(worst.severity)
    verdict = "contradicted" if measured >= 3 else "supported" if measured <= 1 else "unverified"
    return verdict, f"worst fact: {worst.name}, {worst.severity}"


def _named(low: str, names: Mapping[str, str]) -> list[str]:
    """Fault kinds named in the sentence; a longer name hides a shorter one inside it ("salt and pepper noise")."""
    found = []
    rest = low
    for kind, name in sorted(names.items(), key=lambda kv: -len(kv[1])):
        if name.lower() in rest:
            found.append(kind)
            rest = rest.replace(name.lower(), " ")
    return found


def _overlaps(claimed: re.Match[str], m: Measurement) -> bool:
    start, end = float(claimed[1]) - SPAN_SLACK, float(claimed[2]) + SPAN_SLACK
    return any(a <= end and z >= start for a, z in m.spans)

"""Reference-free signal facts of a clip: what the towers of a language model cannot see."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from mllm_avqa.evidence.catalogue import FACTS, Findings, Found, as_measurement
from mllm_avqa.schema.clip import Clip
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.schema.measurement import SEVERITIES, Measurement, Severity, graded

__all__ = ["FACTS", "SEVERITIES", "SOURCES", "Measurement", "Severity", "describe", "graded", "measure"]

_HDR = ("smpte2084", "arib-std-b67")
_TONE = ("overexposure", "underexposure", "crushed_blacks", "contrast", "colourfulness", "colour_cast")

SOURCES: dict[str, str] = {name: fact.source for name, fact in FACTS.items()}


def describe(name: str) -> str:
    """One line of text on a fact: what it is, unit, thresholds, source. Raises ConfigError for an unknown name."""
    if name not in FACTS:
        raise ConfigError(f"no signal fact is called {name!r}; known: {', '.join(FACTS)}")
    fact = FACTS[name]
    words = SEVERITIES[1:]
    parts = [f"{name} ({fact.modality}, {fact.unit}): {fact.what}."]
    for sign, thresholds in ((">=", fact.above), ("<=", fact.below)):
        if thresholds is not None:
            parts.append(", ".join(f"{w} {sign} {t:g}" for w, t in zip(words, thresholds, strict=True)) + ".")
    if fact.above is None and fact.below is None:
        parts.append("Carries no judgement.")
    parts.append(f"Source: {fact.source}.")
    return " ".join(parts)


def measure(clip: Clip) -> list[Measurement]:
    """All signal facts of a clip, in the order of the catalogue; the same clip always gives the same list.

    A fact that cannot be measured (absent stream, too short, silence, a still image) has value None and a note.
    Never raises for a clip that the media room made.
    """
    from mllm_avqa.evidence.audio import measure_audio
    from mllm_avqa.evidence.spatial import measure_spatial
    from mllm_avqa.evidence.sync import measure_stream, measure_sync
    from mllm_avqa.evidence.temporal import measure_temporal

    found: Findings = measure_stream(clip)
    sound = clip.audio if clip.audio is not None and clip.audio.samples.size else None
    with ThreadPoolExecutor(1) as beside:  # the sound is measured while the picture is
        heard = beside.submit(measure_audio, sound) if sound is not None else None
        if clip.video is not None and clip.video.frames.size:
            found |= measure_spatial(clip.video)
            if clip.info.video is not None and clip.info.video.color_transfer in _HDR:
                for name in _TONE:  # the code values of HDR mean other light than those of SDR
                    found[name] = Found(None, note="HDR signal, not judged")
            found |= measure_temporal(clip)
        found |= measure_sync(clip)
        found |= heard.result() if heard is not None else {}
    reasons = {
        "video": clip.absent.get("video", "no picture was decoded"),
        "audio": clip.absent.get("audio", "no sound was decoded"),
        "sync": "needs both sound and picture",
        "text": "not a signal fact",
    }
    return [as_measurement(n, found.get(n) or Found(None, note=reasons[f.modality])) for n, f in FACTS.items()]

"""Facts of the container: resolution and coded bits per pixel, damage."""

from __future__ import annotations

from mllm_avqa.evidence.catalogue import FACTS, Findings, Found
from mllm_avqa.schema.clip import Clip

# Bits that a codec needs for the picture H.264 makes of one bit (rough, from published codec comparisons).
_EFFICIENCY = {"hevc": 0.6, "vp9": 0.65, "av1": 0.5, "mpeg4": 1.6, "mpeg2video": 2.0, "mjpeg": 6.0, "h263": 1.8}


def measure_stream(clip: Clip) -> Findings:
    """`resolution`, `bitrate` and `decode_errors`; needs no decoded frames beyond the count of damage."""
    info = clip.info.video
    if info is None:
        return {}
    out: Findings = {"resolution": Found(float(min(info.width, info.height)), note=f"{info.width}x{info.height}")}
    if clip.video is not None:
        out["decode_errors"] = Found(float(clip.video.damaged))
    if info.still:
        out["bitrate"] = Found(None, note="a still image")
    elif not info.bitrate or not info.fps or info.width * info.height == 0:
        out["bitrate"] = Found(None, note="the container does not tell the bit rate or the frame rate")
    else:
        bits = info.bitrate / (info.width * info.height * info.fps)
        # Graded as the H.264 rate that looks alike, so that an efficient codec is not called poor for being efficient.
        severity = FACTS["bitrate"].severity(bits / _EFFICIENCY.get(info.codec, 1.0))
        out["bitrate"] = Found(bits, note=f"{info.codec} {info.bitrate / 1000:.0f} kbit/s", severity=severity)
    return out

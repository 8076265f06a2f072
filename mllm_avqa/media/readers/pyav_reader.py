"""The default reader: exact presentation times, damaged packets counted and skipped, holes in the sound kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mllm_avqa.media import paintings
from mllm_avqa.media.facts import Facts, read_facts
from mllm_avqa.media.opening import check_regular, open_media, show
from mllm_avqa.media.pictures import Pictures
from mllm_avqa.media.scan import scan
from mllm_avqa.media.soundtrack import Soundtrack
from mllm_avqa.media.subtitles import read_cues
from mllm_avqa.media.window import DecodedWindow, Decoding, plan_video, read_plan
from mllm_avqa.schema.clip import AudioTrack, Clip, DecodeSpec, Limits, MediaInfo, VideoTrack
from mllm_avqa.schema.cues import Cue
from mllm_avqa.schema.errors import ConfigError, EmptyWindow, UnsupportedFormat
from mllm_avqa.schema.whole import Scan

_PATIENCE = 120  # seconds into the file up to which decoding all of it again is bearable


class PyAVReader:
    """Reads through PyAV (FFmpeg). Meant to run inside the guarded process, works anywhere.

    Remembers the facts of the last file: its windows are read one after the other, mostly right after a probe.
    """

    def __init__(self) -> None:
        self._last: tuple[object, Facts] | None = None

    def probe(self, path: str, limits: Limits) -> MediaInfo:
        """Facts of `path`; decodes one frame per stream."""
        self._last = None
        try:
            return self._facts(path, limits).info
        except UnsupportedFormat:
            if not paintings.suits(path):
                raise
            return paintings.probe(path, limits)

    def read_subtitles(self, path: str, limits: Limits) -> list[Cue]:
        """Cues of every embedded text subtitle stream, by start time."""
        return read_cues(path, limits)

    def scan(self, path: str, limits: Limits) -> Scan:
        """One pass over all of `path`."""
        return scan(path, self._facts(path, limits), limits)

    def read_clip(self, path: str, spec: DecodeSpec, limits: Limits) -> Clip:
        """Decodes the window of `spec` in one pass, after one for the facts and one over packets that chooses frames.

        Each pass opens the file anew: seeking back is inexact in MPEG-TS and with edit lists, and opening is cheap.
        """
        check_spec(spec)
        try:
            facts = self._facts(path, limits)
        except UnsupportedFormat:
            if not paintings.suits(path):
                raise
            return paintings.read_clip(path, spec, limits)
        window = DecodedWindow.of(spec, facts.info.container)
        window.seek &= len(facts.shifts) <= 1  # the parts of a joined file are told apart by reading them in order
        absent = dict(facts.absent)
        absent |= {kind: f"{kind} was not asked for" for kind in ("video", "audio") if not getattr(spec, kind)}
        if "video" not in absent:
            _plan(path, facts, window, spec, limits)
        tracks = _decode(path, facts, window, absent, spec, limits)
        if tracks.worse_than(window) and window.start <= _PATIENCE:
            # What a later key frame relies on may stand before it, and damage may lie in what was skipped.
            inorder = replace(window, begin=None, primed=False, seek=False)
            tracks = min(tracks, _decode(path, facts, inorder, absent, spec, limits), key=_Tracks.loss)
        return _assemble(path, facts, window, absent, tracks)

    def _facts(self, path: str, limits: Limits) -> Facts:
        stat = check_regular(path)
        identity = (path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, limits)
        if self._last is None or self._last[0] != identity:
            self._last = (identity, read_facts(path, limits))
        return self._last[1]


@dataclass
class _Tracks:
    video: VideoTrack | None
    audio: AudioTrack | None
    absent: dict[str, str]
    warnings: list[str]

    def loss(self) -> tuple[int, int]:
        """The smaller, the better a decoding of the same window."""
        damaged = sum(track.damaged for track in (self.video, self.audio) if track is not None)
        return damaged, -(0 if self.video is None else len(self.video.thumbs))

    def worse_than(self, window: DecodedWindow) -> bool:
        """Did decoding from a later key frame, or after a seek, give less than the packets promise?"""
        damaged, shown = self.loss()
        return (window.begin is not None or window.seek) and (damaged > 0 or -shown < window.pictures)


def _decode(
    path: str, facts: Facts, window: DecodedWindow, absent: dict[str, str], spec: DecodeSpec, limits: Limits
) -> _Tracks:
    transfer = facts.info.video.color_transfer if facts.info.video is not None else None
    pictures, sound = None, None
    if window.runs:
        room = limits.max_frame_bytes
        pictures = Pictures(window.runs, spec.thumb_side, facts.orientation, facts.shape, transfer, room)
    if "audio" not in absent and facts.info.audio is not None:
        sound = Soundtrack(float(window.start), float(window.end), facts.info.audio.codec)
    with open_media(path, limits) as container:
        Decoding(facts, window, limits, pictures, sound).run(container)
    heard = sound.track() if sound else None
    reasons = {"audio": sound.reason} if sound and heard is None and sound.reason else {}
    warnings = (pictures.warnings if pictures else []) + (sound.warnings if sound else [])
    return _Tracks(pictures.track() if pictures else None, heard, reasons, warnings)


def check_spec(spec: DecodeSpec) -> None:
    """Raises `ConfigError` for a window or a sampling that cannot be meant."""
    if not (0 <= spec.start < float("inf") and 0 < spec.duration < float("inf")):
        raise ConfigError(f"window start {spec.start:g} s, duration {spec.duration:g} s: start >= 0, duration > 0")
    if min(spec.segments, spec.frames_per_segment, spec.thumb_side) < 1:
        raise ConfigError(
            f"segments={spec.segments}, frames_per_segment={spec.frames_per_segment}, thumb_side={spec.thumb_side}: "
            "each must be at least 1"
        )
    if not (spec.video or spec.audio):
        raise ConfigError("neither video nor audio is asked for; at least one is needed")


def _plan(path: str, facts: Facts, window: DecodedWindow, spec: DecodeSpec, limits: Limits) -> None:
    if facts.packets and not window.seek:  # after a seek only what lies behind it can be decoded
        plan_video(facts.packets, facts.base, facts, window, spec)
        return
    with open_media(path, limits) as container:
        if read_plan(container, facts, window, spec):
            return
    window.seek = False
    with open_media(path, limits) as container:
        read_plan(container, facts, window, spec)


def _assemble(path: str, facts: Facts, window: DecodedWindow, absent: dict[str, str], tracks: _Tracks) -> Clip:
    start, end, info = float(window.start), float(window.end), facts.info
    still = info.video is not None and info.video.still
    absent |= tracks.absent
    for kind in ("video", "audio"):
        if getattr(tracks, kind) is None and kind not in absent:
            absent[kind] = f"no {kind} between {start:g} and {end:g} s"
    if tracks.video is None and not tracks.absent and tracks.audio is None:
        raise EmptyWindow(f"{show(path)}: {'; '.join(absent.values())} (the file is {info.duration:.2f} s long)")
    end = start if still else min(end, max(info.duration, start))
    warnings = [*facts.warnings, *tracks.warnings]
    return Clip(info.model_copy(deep=True), start, end, tracks.video, tracks.audio, absent, warnings)

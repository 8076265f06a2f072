"""The default reader: exact presentation times, damaged packets counted and skipped, holes in the sound kept."""

from __future__ import annotations

from mllm_avqa.media.facts import Facts, count_bits, read_facts
from mllm_avqa.media.opening import check_regular, open_media, show
from mllm_avqa.media.pictures import Pictures
from mllm_avqa.media.soundtrack import Soundtrack
from mllm_avqa.media.subtitles import read_cues
from mllm_avqa.media.window import Decoding, Window, plan_video
from mllm_avqa.schema.clip import AudioTrack, Clip, DecodeSpec, Limits, MediaInfo, VideoTrack
from mllm_avqa.schema.cues import Cue
from mllm_avqa.schema.errors import ConfigError, NoUsableStream, TruncatedMedia

_SHORT = 0.5  # seconds a file may end before its declared duration without being called truncated


class PyAVReader:
    """Reads through PyAV (FFmpeg). Meant to run inside the guarded process, works anywhere.

    Remembers the facts of the last file: its windows are read one after the other, mostly right after a probe.
    """

    def __init__(self) -> None:
        self._last: tuple[object, Facts] | None = None

    def probe(self, path: str, limits: Limits) -> MediaInfo:
        """Facts of `path`; decodes one frame per stream."""
        self._last = None
        return self._facts(path, limits).info

    def read_subtitles(self, path: str, limits: Limits) -> list[Cue]:
        """Cues of every embedded text subtitle stream, by start time."""
        return read_cues(path, limits)

    def read_clip(self, path: str, spec: DecodeSpec, limits: Limits) -> Clip:
        """Decodes the window of `spec` in one pass, after one for the facts and one over packets that chooses frames.

        Each pass opens the file anew: seeking back is inexact in MPEG-TS and with edit lists, and opening is cheap.
        """
        check_spec(spec)
        facts = self._facts(path, limits)
        window = Window.of(spec, facts.info.container)
        absent = dict(facts.absent)
        absent |= {kind: f"{kind} was not asked for" for kind in ("video", "audio") if not getattr(spec, kind)}
        pictures = None
        if "video" not in absent:
            _plan(path, facts, window, spec, limits)
            if window.runs:
                pictures = Pictures(window.runs, spec.thumb_side, facts.orientation)
        sound = None
        if "audio" not in absent and facts.info.audio is not None:
            sound = Soundtrack(float(window.start), float(window.end), facts.info.audio.codec)
        with open_media(path, limits) as container:
            at_end = Decoding(facts, window, limits, pictures, sound).run(container)
        video = pictures.track() if pictures else None
        audio = sound.track() if sound else None
        warnings = (pictures.warnings if pictures else []) + (sound.warnings if sound else [])
        return _assemble(path, facts, window, absent, warnings, video, audio, at_end)

    def _facts(self, path: str, limits: Limits) -> Facts:
        stat = check_regular(path)
        identity = (path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, limits)
        if self._last is None or self._last[0] != identity:
            with open_media(path, limits) as container:
                facts = read_facts(container, path, limits)
                count_bits(container, facts)
                self._last = (identity, facts)
        return self._last[1]


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


def _plan(path: str, facts: Facts, window: Window, spec: DecodeSpec, limits: Limits) -> None:
    with open_media(path, limits) as container:
        if plan_video(container, facts, window, spec):
            return
    window.seek = False
    with open_media(path, limits) as container:
        plan_video(container, facts, window, spec)


def _assemble(
    path: str,
    facts: Facts,
    window: Window,
    absent: dict[str, str],
    warnings: list[str],
    video: VideoTrack | None,
    audio: AudioTrack | None,
    at_end: bool,
) -> Clip:
    start, end = float(window.start), float(window.end)
    still = facts.info.video is not None and facts.info.video.still
    end = start if still else min(end, max(facts.info.duration, start))
    for kind, track in (("video", video), ("audio", audio)):
        if track is None and kind not in absent:
            absent[kind] = f"no {kind} between {start:g} and {float(window.end):g} s"
    if video is None and audio is None:
        message = f"{show(path)}: {'; '.join(absent.values())} (the file is {facts.info.duration:.2f} s long)"
        raise (TruncatedMedia if facts.cut else NoUsableStream)(message)
    reached = max(_video_end(video), _audio_end(audio))
    missing = end - reached
    if facts.cut or (at_end and not still and missing > max(_SHORT, 0.05 * (end - start))):
        decoded = max(0.0, min(reached, end) - start)
        extent = "the picture is incomplete" if still else f"{decoded:.1f} s of {end - start:.1f} s decoded"
        warnings = [f"truncated: {extent}", *warnings]
    return Clip(facts.info.model_copy(deep=True), start, end, video, audio, absent, warnings)


def _video_end(track: VideoTrack | None) -> float:
    if track is None:
        return 0.0
    times = track.thumb_pts
    return float(times[-1] + (times[-1] - times[-2] if len(times) > 1 else 0.0))


def _audio_end(track: AudioTrack | None) -> float:
    return 0.0 if track is None else track.start + track.samples.shape[1] / track.rate

"""decord behind the same interface, for comparing with pipelines that use it. Not the default, for good reasons:

it hides stream start times (sound that begins 1.5 s late appears at 0), closes holes in the timestamps, mixes the sound
into one channel, returns wrong frames for MPEG-TS and for edit lists, and cannot open AV1, GIF or still images.
Facts and subtitles are PyAV's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mllm_avqa.media.opening import show
from mllm_avqa.media.orientation import Orientation
from mllm_avqa.media.pictures import Pictures
from mllm_avqa.media.plan import plan_runs
from mllm_avqa.media.readers.pyav_reader import PyAVReader, check_spec
from mllm_avqa.schema.clip import AudioTrack, Clip, DecodeSpec, Limits, MediaInfo, VideoTrack
from mllm_avqa.schema.cues import Cue
from mllm_avqa.schema.errors import ConfigError, NoUsableStream, UnsupportedCodec
from mllm_avqa.schema.whole import Scan

BLIND = "decord hides start times and timestamp gaps: A/V offset and dropouts are invisible; use --reader pyav"
MONO = "decord mixes all channels into one, at another level; use --reader pyav for loudness and stereo"
_TICKS = 1_000_000  # decord gives seconds; plans count in microseconds
_BATCH = 16  # frames decoded at a time, so that memory does not grow with the window


class DecordReader:
    """Reads frames and sound through decord.

    Raises:
        ConfigError: decord is not installed.
    """

    def __init__(self) -> None:
        try:
            import decord
        except (ImportError, OSError) as error:
            raise ConfigError(f"decord cannot be imported ({error}); install it or use --reader pyav") from error
        decord.logging.set_level(decord.logging.QUIET)
        self._decord: Any = decord
        self._facts = PyAVReader()

    def probe(self, path: str, limits: Limits) -> MediaInfo:
        """Facts of `path`, from PyAV."""
        return self._facts.probe(path, limits)

    def read_subtitles(self, path: str, limits: Limits) -> list[Cue]:
        """Embedded subtitles of `path`, from PyAV."""
        return self._facts.read_subtitles(path, limits)

    def scan(self, path: str, limits: Limits) -> Scan:
        """The pass over all of `path`, by PyAV."""
        return self._facts.scan(path, limits)

    def read_clip(self, path: str, spec: DecodeSpec, limits: Limits) -> Clip:
        """The window of `spec` on decord's own clock, where every stream starts at 0.

        Raises:
            UnsupportedCodec: decord cannot read what PyAV can.
        """
        check_spec(spec)
        info = self._facts.probe(path, limits)  # also refuses what must not reach decord: FIFOs, playlists, huge frames
        clip = Clip(info, spec.start, min(spec.start + spec.duration, max(info.duration, spec.start)), None, None)
        clip.warnings.append(BLIND)
        for kind, wanted, facts in (("video", spec.video, info.video), ("audio", spec.audio, info.audio)):
            if not wanted or facts is None:
                clip.absent[kind] = f"no usable {kind} stream in the file" if wanted else f"{kind} was not asked for"
                continue
            try:
                if kind == "video":
                    clip.video = self._video(path, spec, clip, limits.max_frame_bytes)
                elif info.audio is not None:
                    clip.audio = self._audio(path, spec, info.audio.sample_rate)
                    clip.warnings += [MONO] if info.audio.channels > 1 else []
            except (self._decord.DECORDError, RuntimeError, UnicodeError, ValueError, IndexError, TypeError) as error:
                line = str(error).strip().splitlines()[-1:]
                raise UnsupportedCodec(
                    f"{show(path)}: decord cannot read the {kind} ({''.join(line)}); use --reader pyav"
                ) from error
            if getattr(clip, kind) is None:
                clip.absent[kind] = f"no {kind} between {spec.start:g} and {spec.start + spec.duration:g} s"
        if clip.video is None and clip.audio is None:
            raise NoUsableStream(f"{show(path)}: {'; '.join(clip.absent.values())}")
        return clip

    def _video(self, path: str, spec: DecodeSpec, clip: Clip, room: int) -> VideoTrack | None:
        import av

        reader = self._decord.VideoReader(path, ctx=self._decord.cpu(0), num_threads=1)
        times = np.asarray(reader.get_frame_timestamp(range(len(reader))))[:, 0]
        wanted = np.flatnonzero((times >= spec.start - 1e-6) & (times < spec.start + spec.duration - 1e-6))
        ticks = np.round(times * _TICKS).astype(np.int64)
        after = int(wanted[-1]) + 1 if len(wanted) else 0
        step = int(np.median(np.diff(ticks))) if len(ticks) > 1 else 1
        limit = round((spec.start + spec.duration) * _TICKS)
        end = limit if after < len(ticks) else min(limit, int(ticks[-1]) + step)
        runs = plan_runs(sorted(set(ticks[wanted].tolist())), end, spec.segments, spec.frames_per_segment)
        info = clip.info.video
        shape = (info.width, info.height) if info is not None else None
        # decord has already turned the picture
        pictures = Pictures(runs, spec.thumb_side, Orientation(), shape, room=room)
        for at in range(0, len(wanted), _BATCH):
            indices = wanted[at : at + _BATCH]
            for index, image in zip(indices, reader.get_batch(indices.tolist()).asnumpy(), strict=True):
                pictures.add(av.VideoFrame.from_ndarray(image, "rgb24"), int(ticks[index]), float(times[index]))
        clip.warnings += pictures.warnings
        return pictures.track()

    def _audio(self, path: str, spec: DecodeSpec, rate: int) -> AudioTrack | None:
        # The rate is named because decord does not tell which one it chose by itself. One channel, because with
        # mono=False decord 0.6 reads beyond its buffers and returns rubbish from the second channel on.
        sound = self._decord.AudioReader(path, ctx=self._decord.cpu(0), sample_rate=rate, mono=True)
        first = round(spec.start * rate)
        samples = sound[first : round((spec.start + spec.duration) * rate)] if first < sound.shape[1] else None
        return None if samples is None else AudioTrack(np.asarray(samples.asnumpy(), np.float32), rate, first / rate)

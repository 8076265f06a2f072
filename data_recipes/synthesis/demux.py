"""Reading source clips and photos whole into memory, through PyAV and OpenCV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from data_recipes.distortions.base import Caption, Material
from mllm_avqa.schema.errors import MediaNotFound, NotMedia, NoUsableStream, TruncatedMedia

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame

SEEK_FROM = 3.0  # seconds: nearer to the start of the file a seek costs more than it saves


def read_material(
    path: str | Path, start: float = 0.0, duration: float | None = None, max_height: int | None = None
) -> Material:
    """Decode `duration` seconds (None: to the end) from `start` of a video or sound file.

    Frames come at a constant rate (the file's average; of every instant the frame with the nearest time stamp),
    rotated upright, scaled down to `max_height` lines if higher. Sound keeps its rate; mono and stereo are kept, more
    channels are folded to stereo; gaps are zeros; picture and sound are equally long.

    Raises MediaNotFound, NotMedia, NoUsableStream, or TruncatedMedia when nothing lies in the window.
    """
    import av
    from av.error import FFmpegError

    path = Path(path)
    if not path.is_file():
        raise MediaNotFound(f"source file {path} does not exist")
    try:
        with av.open(str(path), metadata_errors="replace") as box:
            return _read(box, path, start, duration, max_height)
    except FFmpegError as e:
        raise NotMedia(f"{path}: {e}") from e


def _read(box: InputContainer, path: Path, start: float, duration: float | None, max_height: int | None) -> Material:
    pictures = [s for s in box.streams.video if not s.disposition & 1024]  # 1024: attached cover art
    video, audio = pictures[0] if pictures else None, box.streams.audio[0] if box.streams.audio else None
    if video is None and audio is None:
        raise NoUsableStream(f"{path}: neither picture nor sound in it")
    zero = (box.start_time or 0) / 1e6
    if duration is None:
        lengths = [s.duration * s.time_base for s in (video, audio) if s is not None and s.duration and s.time_base]
        whole = float(max(lengths)) if lengths else (box.duration or 0) / 1e6
        duration = max(whole - start, 0.0)
    reading = [s for s in (video, audio, *box.streams.subtitles[:1]) if s is not None]
    if start > SEEK_FROM:
        box.seek(int((zero + start - 1.0) * 1e6), backward=True)
    track = None if video is None else _Pictures(start, duration, float(video.average_rate or 25), max_height)
    samples = None if audio is None else _Samples(start, duration, audio)
    captions: list[Caption] = []
    for packet in box.demux(reading):
        at = None if packet.dts is None else float(packet.dts * packet.time_base) - zero - start
        if at is not None and at > duration + 2.0:  # two seconds: B-frames and interleaving
            break
        if packet.stream.type == "subtitle":
            captions += _captions(packet, zero + start, duration)
            continue
        for frame in _decoded(packet):
            when = float(frame.pts * frame.time_base) - zero if frame.pts is not None else None
            if packet.stream.type == "video" and track is not None:
                track.add(frame, when)
            elif samples is not None:
                samples.add(frame, when)
    material = Material(captions=captions)
    if track is not None and track.times:
        material.fps, material.frames = track.fps, track.grid()
    if samples is not None and samples.seen:
        material.rate, material.sound = samples.rate, samples.sound
        if material.frames is not None:  # equal lengths; a longer picture ends in silence
            wanted = round(len(material.frames) / material.fps * samples.rate)
            padding = max(0, wanted - samples.sound.shape[1])
            material.sound = np.pad(samples.sound[:, :wanted], ((0, 0), (0, padding)))
    if material.frames is None and material.sound is None:
        raise TruncatedMedia(f"{path}: nothing can be decoded at {start}..{start + duration} s")
    return material


def _decoded(packet: Packet) -> list:
    """Frames of a packet; a damaged packet gives none (sources with a bad last packet are common)."""
    from av.error import FFmpegError

    try:
        return list(packet.decode())
    except FFmpegError:
        return []


def _captions(packet: Packet, origin: float, duration: float) -> list[Caption]:
    if packet.pts is None or not packet.size:
        return []
    start = float(packet.pts * packet.time_base) - origin
    end = start + float((packet.duration or 0) * packet.time_base)
    if end <= 0 or start >= duration:
        return []
    texts = [
        r.dialogue.decode("utf-8", "replace").replace("\\N", "\n") for r in packet.decode() if hasattr(r, "dialogue")
    ]
    return [Caption(max(start, 0.0), min(end, duration), t) for t in texts if t.strip()]


class _Pictures:
    """Collects frames around the window, then lays them on a constant-rate grid."""

    def __init__(self, start: float, duration: float, fps: float, max_height: int | None) -> None:
        from av.video.reformatter import VideoReformatter

        self.start, self.end, self.fps, self.max_height = start, start + duration, fps, max_height
        self.times: list[float] = []
        self.frames = np.empty((0, 0, 0, 3), np.uint8)  # room for more than there are times
        self.turner = VideoReformatter()  # one for all frames: setting it up costs more than a frame

    def add(self, frame: VideoFrame, when: float | None) -> None:
        step = 1 / self.fps
        if when is None:
            when = self.times[-1] + step if self.times else 0.0
        if when < self.start - step or when > self.end + step:
            return
        h, w = frame.height, frame.width
        turn = (frame.rotation // 90) % 4
        factor = 1.0 if self.max_height is None else min(1.0, self.max_height / (w if turn % 2 else h))
        array: np.ndarray = self.turner.reformat(frame, format="rgb24").to_ndarray()
        if factor < 1:
            array = cv2.resize(
                array, (max(2, round(w * factor)), max(2, round(h * factor))), interpolation=cv2.INTER_AREA
            )
        if turn:
            array = np.ascontiguousarray(np.rot90(array, turn))
        if not self.times:
            self.frames = np.empty((round((self.end - self.start) * self.fps) + 3, *array.shape), np.uint8)
        if array.shape != self.frames.shape[1:]:  # a change of size in mid-stream ends the picture
            return
        if len(self.times) == len(self.frames):  # more than the average rate promised
            self.frames = np.concatenate([self.frames, np.empty_like(self.frames)])
        self.frames[len(self.times)] = array
        self.times.append(when)

    def grid(self) -> np.ndarray:
        times = np.array(self.times)
        order = np.argsort(times, kind="stable")
        times = times[order]
        last = min(self.end, times[-1] + 1 / self.fps)
        wanted = self.start + np.arange(max(1, round((last - self.start) * self.fps))) / self.fps
        right = np.clip(np.searchsorted(times, wanted), 0, len(times) - 1)
        left = np.maximum(right - 1, 0)
        nearest = np.where(wanted - times[left] <= times[right] - wanted, left, right)
        index = order[nearest]
        if (np.diff(index) == 1).all():  # the rule: every frame once, in order
            return self.frames[index[0] : index[-1] + 1]
        return self.frames[index]


class _Samples:
    """Collects sound into a zero-filled array by its time stamps."""

    def __init__(self, start: float, duration: float, stream: AudioStream) -> None:
        import av

        self.rate, self.start, self.seen = stream.rate, start, False
        channels = 1 if stream.channels == 1 else 2
        self.sound = np.zeros((channels, round(duration * self.rate)), np.float32)
        self.turner = av.AudioResampler(format="fltp", layout="mono" if channels == 1 else "stereo", rate=self.rate)
        self.next = 0.0

    def add(self, frame: AudioFrame, when: float | None) -> None:
        when = self.next if when is None else when
        frame.pts = None
        for ready in self.turner.resample(frame):
            data = ready.to_ndarray()
            at = round((when - self.start) * self.rate)
            when += data.shape[1] / self.rate
            first, last = max(at, 0), min(at + data.shape[1], self.sound.shape[1])
            if last > first:
                self.sound[:, first:last] = data[:, first - at : last - at]
                self.seen = True
        self.next = when


ZOOMS = (0.7, 0.95)  # share of the largest 16:9 window of a photo that is in view


def photo_material(
    path: str | Path, duration: float, fps: float, height: int, rng: np.random.Generator, *, sharp: bool = False
) -> Material:
    """A silent clip that pans and zooms slowly over a photo: frames [duration * fps, height, 16/9 height, 3].

    Sides are even. sharp: fewer lines where the photo has not enough of them. Raises MediaNotFound or NotMedia.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaNotFound(f"photo {path} does not exist")
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise NotMedia(f"{path}: not a picture that OpenCV can read")
    if sharp:
        height = min(height, int(ZOOMS[0] * min(image.shape[0], image.shape[1] * 9 / 16)))
    h, w = height + height % 2, 2 * round(height * 8 / 9)
    # Share of the largest 16:9 window that is in view at the start and at the end, and where the window sits (0..1).
    zoom = rng.uniform(*ZOOMS, 2)
    place = rng.uniform(0, 1, (2, 2))
    fit = min(image.shape[1] / w, image.shape[0] / h)
    shrink = min(1.0, 1 / (fit * zoom.min()))  # the bilinear warp must never skip pixels: shrink by area first
    if shrink < 1:
        image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        fit = min(image.shape[1] / w, image.shape[0] / h)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    n = max(1, round(duration * fps))
    frames = np.empty((n, h, w, 3), np.uint8)
    for i, t in enumerate(np.linspace(0, 1, n)):
        scale = fit * ((1 - t) * zoom[0] + t * zoom[1])
        free = np.array([image.shape[1] - w * scale, image.shape[0] - h * scale])
        x, y = ((1 - t) * place[0] + t * place[1]) * free
        matrix = np.array([[scale, 0, x], [0, scale, y]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(image, matrix, (w, h), dst=frames[i], flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return Material(frames=frames, fps=fps)

"""Lossy codecs: encode and decode in memory, with PyAV's own encoders.

One encoder thread each: the result must not depend on the number of cores of the machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from data_recipes.distortions.base import Rng, picture
from data_recipes.distortions.references import AVT_UHD, CODEC_TEST, LIVE_VQA, UNB, VMAF_540

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext

Damage = Callable[["Packet", int], "Packet | None"]
# One encoder thread still leaves x264 a threaded look-ahead; and its macroblock tree differs from run to run even so.
ONE_THREAD = "threads=1:lookahead-threads=1:sync-lookahead=0:mbtree=0"
MIN_SIDE = 64  # SVT-AV1 refuses smaller pictures


def padded(frames: np.ndarray) -> np.ndarray:
    """Frames with even sides of at least 64 pixels, edges repeated; the same array when they are already so."""
    h, w = frames.shape[1:3]
    down, right = max(h + h % 2, MIN_SIDE) - h, max(w + w % 2, MIN_SIDE) - w
    if not (down or right):
        return frames
    return np.stack([cv2.copyMakeBorder(f, 0, down, 0, right, cv2.BORDER_REPLICATE) for f in frames])


def round_trip(
    frames: np.ndarray,
    fps: float,
    encoder: str,
    decoder: str,
    options: dict[str, str],
    *,
    quantiser: int | None = None,
    gop: int | None = None,
    damage: Damage | None = None,
) -> np.ndarray:
    """Frames uint8 [n, h, w, 3] after `encoder` and `decoder`; same shape.

    quantiser: fixed quantiser of the MPEG-2/4 encoders; damage: called with every packet and its number, may return
    another packet or None (lost). A frame that never comes out of the decoder is replaced by the one before it.
    """
    import av
    from av.error import FFmpegError
    from av.video.reformatter import VideoReformatter

    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints a banner to stderr otherwise
    h, w = frames.shape[1:3]
    source = padded(frames)
    coder = cast("VideoCodecContext", av.CodecContext.create(encoder, "w"))
    coder.width, coder.height, coder.pix_fmt = source.shape[2], source.shape[1], "yuv420p"
    rate = Fraction(fps).limit_denominator(1001)
    coder.time_base, coder.framerate = 1 / rate, rate
    coder.thread_count = 1
    coder.options = ({"x264-params": ONE_THREAD} if encoder == "libx264" else {}) | options
    if gop is not None:
        coder.gop_size = gop
    if quantiser is not None:
        coder.qmin = coder.qmax = quantiser
        coder.bit_rate = 50_000_000  # out of the way: the quantiser decides
    else:
        coder.bit_rate = 0
    reader = cast("VideoCodecContext", av.CodecContext.create(decoder, "r"))
    reader.thread_count = 1
    to_yuv, to_rgb = VideoReformatter(), VideoReformatter()  # setting one up per picture costs more than the picture
    out = np.empty_like(frames)
    arrived = np.zeros(len(frames), bool)

    def take(packet: Packet | None) -> None:
        try:
            pictures = reader.decode(packet)
        except FFmpegError:
            if damage is None:
                raise
            return  # an undecodable packet of a damaged stream: its picture is concealed below
        for picture in pictures:
            if picture.pts is not None and 0 <= picture.pts < len(out):
                out[picture.pts] = to_rgb.reformat(picture, format="rgb24").to_ndarray()[:h, :w]
                arrived[picture.pts] = True

    count = 0
    for i in range(len(source) + 1):
        picture = None
        if i < len(source):
            picture = to_yuv.reformat(av.VideoFrame.from_ndarray(source[i], format="rgb24"), format="yuv420p")
            picture.pts, picture.time_base = i, coder.time_base
        for packet in coder.encode(picture):
            kept = packet if damage is None else damage(packet, count)
            count += 1
            if kept is not None:
                take(kept)
        if i == 0 and encoder == "libsvtav1":
            no_real_time()
    take(None)
    seen = np.maximum.accumulate(np.where(arrived, np.arange(len(out)), -1))
    seen[seen < 0] = np.flatnonzero(arrived)[0] if arrived.any() else 0
    return out if arrived.all() else out[seen]


def no_real_time() -> None:
    """SVT-AV1 run by root gives its threads real-time priority, which starves everything else on the machine."""
    if not hasattr(os, "sched_setscheduler"):  # only Linux lets one ask
        return
    for thread in map(int, os.listdir("/proc/self/task")):
        with contextlib.suppress(ProcessLookupError):  # ended meanwhile
            if os.sched_getscheduler(thread) != os.SCHED_OTHER:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


@picture(
    "h264",
    (27, 33, 38, 43, 49),
    "crf",
    f"{LIVE_VQA}; x264 veryfast at constant quality, {VMAF_540}",
    alike="blocks soft",
)
def h264(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    return round_trip(frames, fps, "libx264", "h264", {"preset": "veryfast", "crf": str(value)})


@picture(
    "hevc",
    (28, 34, 39, 44, 50),
    "crf",
    f"{AVT_UHD}; {CODEC_TEST}; x265 ultrafast at constant quality, {VMAF_540}",
    alike="blocks soft",
)
def hevc(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    quiet = "log-level=none:pools=none:frame-threads=1"
    return round_trip(frames, fps, "libx265", "hevc", {"preset": "ultrafast", "crf": str(value), "x265-params": quiet})


@picture(
    "vp9",
    (40, 48, 54, 59, 63),
    "crf",
    f"{AVT_UHD}; libvpx-vp9 realtime at constant quality, {VMAF_540}",
    alike="blocks soft",
)
def vp9(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    options = {"deadline": "realtime", "cpu-used": "8", "crf": str(value), "lag-in-frames": "0"}
    return round_trip(frames, fps, "libvpx-vp9", "vp9", options)


@picture(
    "av1",
    (40, 48, 54, 59, 63),
    "crf",
    f"{CODEC_TEST}; SVT-AV1 preset 10 at constant quality, {VMAF_540}",
    alike="blocks soft",
)
def av1(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    options = {"preset": "10", "crf": str(value), "svtav1-params": "lp=1"}
    return round_trip(frames, fps, "libsvtav1", "libdav1d", options)


def mpeg(frames: np.ndarray, value: float, rng: Rng, fps: float, encoder: str) -> np.ndarray:
    # MPEG-2 knows eight frame rates only; time does not matter to it
    fps = 25.0 if encoder == "mpeg2video" else fps
    return round_trip(frames, fps, encoder, encoder, {}, quantiser=int(value))


QUANTISERS = (4, 8, 14, 22, 31)
picture("mpeg4", QUANTISERS, "quantiser", f"{LIVE_VQA}; MPEG-4 part 2, fixed quantiser, {VMAF_540}", alike="blocks")(
    partial(mpeg, encoder="mpeg4")
)
picture("mpeg2", QUANTISERS, "quantiser", f"{LIVE_VQA}; MPEG-2, fixed quantiser, {VMAF_540}", alike="blocks")(
    partial(mpeg, encoder="mpeg2video")
)

SPAN = 24  # bytes of a hit packet overwritten at once
HEADER = 40  # bytes left alone: parameter sets and slice headers, without which whole pictures vanish


@picture(
    "packet_loss",
    (0.02, 0.06, 0.15, 0.4, 1.0),
    "damaged_spans_per_packet",
    f"{UNB}, packet loss; {LIVE_VQA}; x264 CRF 23, 4 slices, GOP 50; the decoder conceals; {VMAF_540}",
    regional=False,
    alike="blocks",
)
def packet_loss(frames: np.ndarray, value: float, rng: Rng, fps: float) -> np.ndarray:
    """Where a lost packet shows is not ours to choose."""
    from av.packet import Packet

    # Which packets are hit is drawn before coding, so that it does not depend on the content.
    n = len(frames)
    spans = rng.permutation(np.arange(n).repeat(3))[: max(1, rng.poisson(value * n))]
    hits = np.bincount(spans, minlength=n)

    def damage(packet: Packet, number: int) -> Packet:
        data = np.frombuffer(bytes(packet), np.uint8).copy()
        for _ in range(hits[number] if number < n else 0):
            room = len(data) - HEADER - SPAN
            if room > 0:
                at = HEADER + int(rng.integers(0, room))
                data[at : at + SPAN] = rng.integers(0, 256, SPAN, dtype=np.uint8)
        hurt = Packet(data.tobytes())
        hurt.pts, hurt.dts, hurt.time_base = packet.pts, packet.dts, packet.time_base
        return hurt

    options = {"preset": "veryfast", "crf": "23", "x264-params": "slices=4"}
    return round_trip(frames, fps, "libx264", "h264", options, gop=50, damage=damage)

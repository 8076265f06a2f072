"""The front door: regular files only, content-sniffed still images, and FFmpeg told to open nothing else."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mllm_avqa.media.cutoff import cut_off, jpeg_end
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.errors import (
    MediaNotFound,
    MediaTimeout,
    MediaTooLarge,
    NotAFile,
    NotMedia,
    TruncatedMedia,
    UnsupportedFormat,
)
from mllm_avqa.schema.plain import plain, refused_url

if TYPE_CHECKING:
    from av.container import InputContainer

# Playlists and scripts (hls, dash, concat, sdp, image2 patterns ...) can name other files; none of them is listed.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,wav,w64,aiff,caf,au,mp3,flac,aac,ac3,eac3,"
    "amr,asf,gif,apng,mxf,nut,ivf,h264,hevc,av1,obu,m4v,mjpeg,dv,rm,wv,ape,tta,opus,yuv4mpegpipe,dts,truehd,voc,"
    "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)
# What people take for a picture, a clip or a recording and this package does not read. By its first bytes, at `at`.
_KNOWN: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF", "a PDF document"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (4, b"JXL ", "a JPEG XL picture"),
    (4, b"jP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"v/1\x01", "an OpenEXR picture"),
    (0, b"\0\0\1\0", "a Windows icon"),
    (0, b"qoif", "a QOI picture"),
    (0, b"P4\n", "a portable bitmap"),
    (0, b"P5\n", "a portable greymap"),
    (0, b"P6\n", "a portable pixmap"),
    (0, b"FUJIFILM", "a camera's raw picture"),
    (0, b"MThd", "a MIDI score"),
    (0, b"#EXTM3U", "a playlist"),
    (0, b"ffconcat", "a list of files"),
    (0, b"<?xml", "an XML text (an SVG drawing or a DASH manifest, perhaps)"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive"),
    (0, b"Rar!", "a RAR archive"),
    (4, b"ftypheic", "a HEIC picture of a layout that FFmpeg does not know"),
    (4, b"ftypavif", "an AVIF picture of a layout that FFmpeg does not know"),
)
_HEADED = ((0, b"OggS", "Ogg"), (0, b"fLaC", "FLAC"), (0, b"FLV", "Flash video"), (0, b"RIFF", "RIFF"))
STILL_FORMATS = frozenset({"png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe"})


def show(path: str | os.PathLike[str]) -> str:
    """`path` as printable text: names that are not valid UTF-8 get backslash escapes."""
    return plain(path)


def check_regular(path: str) -> os.stat_result:
    """Stat of `path`, following links, without ever opening it (opening a FIFO would block).

    Raises:
        MediaNotFound: nothing is there, or it may not be looked at.
        NotAFile: a directory, FIFO, socket or device.
    """
    try:
        facts = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        if refused := refused_url(path):
            raise MediaNotFound(refused) from error
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaNotFound(f"{show(path)}: {reason}; a path of an existing media file is needed") from error
    if not stat.S_ISREG(facts.st_mode):
        kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(facts.st_mode), "a device")
        raise NotAFile(f"{show(path)} is {kind}; only regular files are read")
    if not os.access(path, os.R_OK):
        raise MediaNotFound(f"{show(path)}: permission denied")
    return facts


def content_hash(
    path: str | os.PathLike[str], limits: Limits = Limits(), stopped: Callable[[], bool] = lambda: False
) -> str:
    """SHA-256 (hex) of the bytes of a regular file, read in 1 MiB pieces. stopped: asked between pieces.

    Raises:
        MediaNotFound, NotAFile: see `check_regular`.
        MediaTooLarge, MediaTimeout: more bytes or seconds than the limits allow, or `stopped`.
    """
    name = os.fspath(path)
    size = check_regular(name).st_size
    if size > limits.max_bytes:
        raise MediaTooLarge(f"{show(name)}: {size} bytes, allowed are {limits.max_bytes} (--max-bytes)")
    digest = hashlib.sha256()
    deadline = time.monotonic() + limits.max_hash_seconds
    with open(name, "rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
            if time.monotonic() > deadline:
                raise MediaTimeout(
                    f"{show(name)}: its {size} bytes are not read within {limits.max_hash_seconds:g} s "
                    "(--max-hash-seconds)"
                )
            if stopped():
                raise MediaTimeout(f"{show(name)}: stopped while it was read")
    return digest.hexdigest()


def open_media(path: str, limits: Limits) -> InputContainer:
    """Opens a container for reading; use it in a `with` block (unclosed containers keep their memory).

    Raises:
        MediaNotFound, NotAFile: see `check_regular`.
        NotMedia: empty, or no allowed container format recognises the bytes.
        UnsupportedFormat: the bytes are known to be of a format that is not read.
        TruncatedMedia: the container's index lies in the part that is missing.
        MediaTooLarge: a still image whose header asks for more than `limits.max_pixels`.
    """
    import av

    if check_regular(path).st_size == 0:
        raise NotMedia(f"{show(path)} is empty (0 bytes)")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        # A name such as `concat:x` or `pipe:0` must stay a file name, hence the explicit protocol.
        # Images get their demuxer from their content: by name FFmpeg would expand patterns such as `%03d.png`.
        return av.open(
            "file:" + os.path.abspath(path),
            format=_still_format(path, limits),
            options=options,
            metadata_errors="replace",
        )
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        if cut_off(path):
            message = f"{show(path)} is cut off: its index lies in the missing part, so nothing can be decoded"
            raise TruncatedMedia(message) from error
        if isinstance(error, av.error.EOFError) and _known(path, _HEADED):
            raise TruncatedMedia(f"{show(path)} is cut off within its header, so nothing can be decoded") from error
        if name := _known(path):
            raise UnsupportedFormat(f"{show(path)} is {name}, which is not supported; convert it first") from error
        reason = getattr(error, "strerror", None) or str(error)
        raise NotMedia(f"{show(path)} is no media file that can be read ({reason})") from error


def _still_format(path: str, limits: Limits) -> str | None:
    with open(path, "rb") as stream:
        head = stream.read(32)
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            if b"acTL" in stream.read(4096):
                return None  # an animation
            size = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
            # FFmpeg refuses absurd sizes without telling them, so the header is read here.
            check_pixels(path, *size, limits)
            return "png_pipe"
        if head.startswith(b"\xff\xd8\xff"):
            stream.seek(0)
            header = stream.read(1 << 20)
            check_pixels(path, *_jpeg_size(header), limits)
            return "mjpeg" if b"MPF\0" not in header and _goes_on(path) else "jpeg_pipe"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        if head[12:16] == b"VP8X" and head[20] & 2:
            raise UnsupportedFormat(f"{show(path)} is an animated WebP picture, which FFmpeg does not read")
        return "webp_pipe"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "bmp_pipe"
    return "tiff_pipe" if head.startswith((b"II*\0", b"MM\0*")) else None


def _goes_on(path: str) -> bool:
    """Does another JPEG picture follow the first? Then it is a film, if no index of pictures (MPF) says otherwise."""
    end = jpeg_end(path)
    if end is None:
        return False
    with open(path, "rb") as stream:
        stream.seek(end)
        return stream.read(3) == b"\xff\xd8\xff"


def _known(path: str, kinds: tuple[tuple[int, bytes, str], ...] = _KNOWN) -> str | None:
    with open(path, "rb") as stream:
        head = stream.read(64)
    return next((name for at, magic, name in kinds if head[at : at + len(magic)] == magic), None)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """(width, height) in the first start-of-frame segment, (0, 0) if there is none."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0


def too_many_frames(path: str, limits: Limits) -> MediaTooLarge:
    return MediaTooLarge(f"{show(path)}: an animation of more than {limits.max_frames} frames (--max-frames)")


def check_pixels(path: str, width: int, height: int, limits: Limits) -> None:
    """Raises `MediaTooLarge` if one frame has more than `limits.max_pixels`."""
    if width * height > limits.max_pixels:
        raise MediaTooLarge(
            f"{show(path)}: frames of {width}x{height} = {width * height} pixels, at most {limits.max_pixels} are "
            "allowed (--max-pixels)"
        )

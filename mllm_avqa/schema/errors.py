"""One exception tree. Every message names the value, what is allowed and, where a flag set it, the flag."""

from __future__ import annotations

import logging
from typing import Self

log = logging.getLogger(__name__)


class AvqaError(Exception):
    """Base of every error this package raises on purpose. `kind` is the stable word written into batch rows."""

    kind = "error"


class ConfigError(AvqaError):
    """A setting, file or flag the user gave is not usable."""

    kind = "config"


class CheckpointError(AvqaError):
    """A checkpoint cannot be found, read or trusted (unknown name, missing card, ambiguous level words)."""

    kind = "checkpoint"


class OutputError(AvqaError):
    """An output path cannot be continued or written (rows of another model, unknown format)."""

    kind = "output"


class ContextUnavailable(AvqaError):
    """A text engine (OCR, speech recognition) or its weights are not to be had; says how to get them."""

    kind = "context_unavailable"


class InternalError(AvqaError):
    """What no other error foresaw, on one clip of many: its class and its first line, for the row of that clip."""

    kind = "internal"

    @classmethod
    def of(cls, error: Exception) -> Self:
        first = next(iter(str(error).splitlines()), "")
        return cls(f"{type(error).__name__}: {first[:200]}".rstrip(": "))


class MediaError(AvqaError):
    """Base of everything that can be wrong with a media file."""

    kind = "media"


def typed(error: Exception) -> AvqaError:
    """Whatever one clip of many does, as what its own row can hold; its place in the code is in the log."""
    if isinstance(error, AvqaError):
        return error
    log.debug("a clip could not be rated", exc_info=error)
    if isinstance(error, OSError):
        return MediaError(f"cannot be read: {error.strerror or type(error).__name__}")
    return InternalError.of(error)


class MediaNotFound(MediaError):
    kind = "not_found"


class NotAFile(MediaError):
    """A directory, FIFO, socket or device where a regular file is needed."""

    kind = "not_a_file"


class NotMedia(MediaError):
    """No container format recognises the bytes (empty file, text, random data)."""

    kind = "not_media"


class NoUsableStream(MediaError):
    """A container without a decodable video or audio stream."""

    kind = "no_usable_stream"


class EmptyWindow(NoUsableStream):
    """The file is readable, but nothing of it lies in the window that was asked for."""


class EncryptedMedia(MediaError):
    """The content is encrypted: a decoder would turn it into noise."""

    kind = "encrypted"


class UnsupportedFormat(MediaError):
    """The format is known, and known not to be supported."""

    kind = "unsupported_format"


class TruncatedMedia(MediaError):
    """The file is cut off and nothing of it can be decoded (if something can, that is a warning, not an error)."""

    kind = "truncated"


class MediaTooLarge(MediaError):
    """Pixels, memory or duration beyond the limits the user set."""

    kind = "too_large"


class MediaTimeout(MediaError):
    kind = "timed_out"


class UnsupportedCodec(MediaError):
    kind = "unsupported_codec"

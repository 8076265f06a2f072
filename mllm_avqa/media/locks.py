"""Is a file's content encrypted? Decoders do not notice: they turn it into noise that would get a score."""

from __future__ import annotations

import os
from typing import BinaryIO

from mllm_avqa.media.boxes import is_movie, read_movie
from mllm_avqa.media.cutoff import ASF
from mllm_avqa.media.ebml import MAGIC, matroska_encrypted

# Content Encryption Object and Extended Content Encryption Object of the ASF specification, section 10.1.
_ASF_LOCKS = (bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"), bytes.fromhex("14e68a292226174cb935dae07ee9289c"))
_TS_PACKETS = 2000  # looked at; scrambling is a matter of whole programmes


def encryption(path: str) -> str | None:
    """How the content of `path` is encrypted; None: it is not, or not in a way that the container tells."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        head = stream.read(1 << 16)
        if is_movie(head):
            formats = read_movie(stream, size).encrypted
            return f"Common Encryption or DRM, {', '.join(sorted(formats))}" if formats else None
        if head.startswith(MAGIC):
            return "Matroska content encryption" if matroska_encrypted(stream, size) else None
        if head.startswith(ASF):
            return "Windows Media DRM" if any(lock in head for lock in _ASF_LOCKS) else None
        return "scrambled transport stream" if _scrambled(stream, head) else None


def _scrambled(stream: BinaryIO, head: bytes) -> bool:
    """ISO/IEC 13818-1 section 2.4.3.2: two bits of each packet's header say whether its payload is scrambled."""
    length, first = next(((n, n - 188) for n in (188, 192) if head[n - 188 : 4 * n : n] == b"\x47" * 4), (0, 0))
    if not length:
        return False
    stream.seek(0)
    data = stream.read(length * _TS_PACKETS)
    syncs, flags = data[first::length], data[first + 3 :: length]
    told = [flag >> 6 != 0 for sync, flag in zip(syncs, flags, strict=False) if sync == 0x47]
    return sum(told) > len(told) / 2

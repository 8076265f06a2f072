"""The clip of a request as a file: uploaded, in a data URL, below the media root, or at an allowed host."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from mllm_avqa.schema.errors import MediaTooLarge
from mllm_avqa.schema.plain import plain
from mllm_avqa.serving.refusals import NotAllowed, NotHeld, RequestRefused
from mllm_avqa.serving.remote import Remote

_NAME = 120  # characters of a name that are kept
_DATA = re.compile(r"data:[\w.+/-]*(?:;[\w.+-]+=[\w.+\",-]*)*;base64,", re.ASCII)


@dataclass(frozen=True)
class Delivered:
    """A file to be rated. name: what its owner calls it; folder: removed with all in it when it is discarded."""

    path: Path
    name: str
    folder: Path | None

    def discard(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Arrivals:
    """spool: where uploads lie while they are needed; root: folder whose files may be named; most: bytes of a clip."""

    spool: Path
    root: Path | None
    remote: Remote | None
    most: int

    async def upload(self, file: BinaryIO, name: str | None) -> Delivered:
        """A copy of an uploaded file."""
        delivered = self._room(name)
        try:
            with delivered.path.open("wb") as out:
                await asyncio.to_thread(shutil.copyfileobj, file, out, 1 << 20)
        except BaseException:
            delivered.discard()
            raise
        return delivered

    async def named(self, place: str) -> Delivered:
        """A clip by data URL, file:// address, path below the media root, or address of an allowed host."""
        scheme = place[:40].partition(":")[0].lower()
        if scheme == "data":
            return await asyncio.to_thread(self._data, place)
        if scheme in ("http", "https"):
            return await self._fetched(place)
        if scheme == "file":
            parts = urlsplit(place)
            if parts.netloc not in ("", "localhost"):
                raise NotAllowed("file:// addresses name a file of this server")
            place = unquote(parts.path)
        return self._below_root(place)

    def write(self, content: bytes, name: str | None = None) -> Delivered:
        """A clip given by its bytes. Raises MediaTooLarge."""
        if len(content) > self.most:
            raise MediaTooLarge(f"a clip of {len(content)} bytes, allowed are {self.most} (--max-bytes)")
        delivered = self._room(name)
        delivered.path.write_bytes(content)
        return delivered

    def _data(self, url: str) -> Delivered:
        head = _DATA.match(url[:200])
        if head is None:
            raise RequestRefused("a data URL is data:TYPE;base64,CONTENT")
        return self.write(decoded(url[head.end() :]))

    async def _fetched(self, url: str) -> Delivered:
        if self.remote is None:
            raise NotAllowed("this server fetches nothing from other hosts (--allow-host)")
        delivered = self._room(unquote(urlsplit(url).path).rsplit("/", 1)[-1])
        try:
            await asyncio.to_thread(self.remote.fetch, url, delivered.path)
        except BaseException:
            delivered.discard()
            raise
        return delivered

    def _below_root(self, place: str) -> Delivered:
        """What is not below the root is not there, whether it exists or not."""
        if self.root is None:
            raise NotAllowed("this server reads no files by their path (--media-root)")
        try:
            path = (self.root / place).resolve(strict=True)
            inside = path.is_relative_to(self.root) and path.is_file()
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside:
            raise NotHeld("no such file below the media root")
        return Delivered(path, plain(path.relative_to(self.root)), None)

    def _room(self, name: str | None) -> Delivered:
        """An empty folder of its own, so that no neighbour is taken for a sidecar; the file's name is ours."""
        folder = Path(tempfile.mkdtemp(dir=self.spool))
        shown = plain((name or "clip").replace("\\", "/").rsplit("/", 1)[-1])[-_NAME:] or "clip"
        return Delivered(folder / "clip", shown, folder)


def decoded(text: str) -> bytes:
    """The bytes of base64. Raises RequestRefused."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as e:
        raise RequestRefused(f"not base64: {e}") from None

"""Getting the data sets from where their owners publish them: direct files and hub repositories.

Every download resumes: an unfinished file stays beside its place as `NAME.part`. Checked sizes and sums come from the
publisher, never from a copy.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mllm_avqa.schema.errors import AvqaError, ConfigError

log = logging.getLogger(__name__)
Progress = Callable[[str, int, int | None], None]  # file name, bytes so far, bytes in all if known
_BLOCK = 1 << 20
_TIMEOUT = 60.0  # s without a byte


class FetchError(AvqaError):
    """A download that failed, and what to do about it."""

    kind = "fetch"


class Throttled(FetchError):
    """The other side asks for fewer requests. Whoever goes on is locked out for longer."""

    kind = "throttled"


class RemoteFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(pattern=r"^https?://")
    bytes: int | None = None
    md5: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    name: str | None = Field(None, pattern=r"^[\w.-]+$")  # default: the last part of the address

    @property
    def file_name(self) -> str:
        return self.name or urllib.parse.unquote(urllib.parse.urlsplit(self.url).path).rpartition("/")[2]


class Fetch(BaseModel):
    """How to get one data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["direct", "hub", "youtube", "manual"]
    homepage: str
    files: list[RemoteFile] = []  # direct
    repo: str | None = None  # hub: "owner/name" of a data set repository on Hugging Face
    revision: str | None = None
    allow: list[str] | None = None  # hub: patterns of the files wanted
    steps: list[str] = []  # what is left for a person to do

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        if (self.kind == "direct") != bool(self.files) or (self.kind == "hub") != bool(self.repo):
            raise ValueError("`files` belongs to kind direct and `repo` to kind hub")
        if self.kind == "manual" and not self.steps:
            raise ValueError("kind manual needs `steps`")
        return self


@cache
def catalogue() -> Mapping[str, Fetch]:
    """Ways to get data sets, by name: those of fetch.yaml, and the homepage of every other card."""
    from data_recipes.datasets.card import card_names, load_card

    told = yaml.safe_load(Path(__file__).with_name("fetch.yaml").read_text(encoding="utf-8"))
    ways = {name: Fetch.model_validate(how) for name, how in told.items()}
    for name in card_names():
        if name not in ways:
            ways[name] = Fetch(kind="manual", homepage=load_card(name).homepage, steps=["Follow the homepage."])
    return ways


def way(name: str) -> Fetch:
    """Raises ConfigError for a name without an entry."""
    try:
        return catalogue()[name]
    except KeyError:
        raise ConfigError(f"no way to get {name!r} is known; there are {', '.join(sorted(catalogue()))}") from None


def fetch(how: Fetch, folder: Path, progress: Progress | None = None) -> list[Path]:
    """Download what kind direct or hub names into `folder`. Returns the files, or the folder of a repository.

    Raises FetchError or its subclass Throttled; what has arrived stays and the next call goes on from there.
    """
    if how.kind == "direct":
        return [download(file, folder, progress) for file in how.files]
    if how.kind == "hub":
        return [_from_hub(how, folder)]
    raise ConfigError(f"kind {how.kind} is not downloaded: {' '.join(how.steps)} ({how.homepage})")


def download(file: RemoteFile, folder: Path, progress: Progress | None = None) -> Path:
    """One file with resume and checks. Returns its path; a file that is there and right is not asked for again.

    Raises FetchError for an answer that is not the file (size, sum, status), Throttled for HTTP 429 and 503.
    """
    target = folder / file.file_name
    part = folder / (file.file_name + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            if fault := _fault(file, target):
                raise FetchError(f"{target} {fault}: remove it and repeat")
            return target
        if not (part.is_file() and part.stat().st_size == file.bytes):
            _receive(file, part, progress)
        if fault := _fault(file, part):
            part.unlink()  # nothing in it can be trusted, so nothing is resumed
            raise FetchError(f"{file.url}: what came {fault}; it was removed, repeat the command")
        part.replace(target)
        _tag(part).unlink(missing_ok=True)
    except urllib.error.HTTPError as e:
        if e.code in (429, 503):
            wait = e.headers.get("Retry-After")
            when = f"it asks to wait {wait}" + (" s" if wait.isdigit() else "") if wait else "wait an hour"
            raise Throttled(
                f"{file.url}: HTTP {e.code}, the server asks for fewer requests; {when}, then repeat"
            ) from e
        raise FetchError(f"{file.url}: HTTP {e.code} {e.reason}") from e
    except (http.client.HTTPException, OSError) as e:  # URLError, time-outs and a full disk are OSErrors
        raise FetchError(f"{file.url} -> {target}: {e}; repeat the command to go on from there") from e
    return target


def _receive(file: RemoteFile, part: Path, progress: Progress | None) -> None:
    have = part.stat().st_size if part.is_file() else 0
    if file.bytes is not None and have > file.bytes:
        have = 0
    headers = {"User-Agent": "mllm-avqa data_recipes", "Accept-Encoding": "identity"}
    tag = _tag(part)
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag.is_file():
            headers["If-Range"] = tag.read_text()
    try:
        answer = urllib.request.urlopen(urllib.request.Request(file.url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as e:
        if e.code == 416 and have:  # nothing after what is there: it is complete, or not ours; the checks decide
            return
        raise
    with answer:
        if _start(answer) != have:  # the server ignores ranges, or has another version
            log.info("%s: no resuming here, or the file has changed: starting anew", file.url)
            have = 0
        version = answer.headers.get("ETag", "")
        if version.startswith('"'):  # a weak one does not promise the same bytes
            tag.write_text(version)
        length = answer.headers.get("Content-Length")
        whole = file.bytes or (have + int(length) if length else None)
        if whole is not None and whole - have > shutil.disk_usage(part.parent).free:
            raise FetchError(f"{file.url}: no room for {whole - have:,} more bytes in {part.parent} (-o)")
        with part.open("r+b" if have else "wb") as out:
            out.seek(have)
            _copy(answer, out, lambda n: progress(file.file_name, n, whole) if progress else None)
        if whole is not None and part.stat().st_size < whole:
            raise FetchError(
                f"{file.url}: the connection ended at {part.stat().st_size:,} of {whole:,} bytes; repeat the command"
            )


def _start(answer: Any) -> int:
    """First byte of an answer: 0 unless it is the part asked for."""
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", "")) if answer.status == 206 else None
    return int(found[1]) if found else 0


def _copy(answer: Any, out: BinaryIO, told: Callable[[int], object]) -> None:
    while block := answer.read(_BLOCK):
        out.write(block)
        told(out.tell())


def _tag(part: Path) -> Path:
    """Where the version of an unfinished file is kept, so that halves of two versions are never joined."""
    return part.with_name(part.name + ".etag")


def _fault(file: RemoteFile, path: Path) -> str:
    """What is wrong with a finished file, or nothing."""
    size = path.stat().st_size
    if file.bytes is not None and size != file.bytes:
        return f"has {size:,} bytes, the publisher says {file.bytes:,}"
    if file.md5 is not None:
        with path.open("rb") as f:
            found = hashlib.file_digest(f, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != file.md5:
            return f"has md5 {found}, the publisher says {file.md5}"
    return ""


def _from_hub(how: Fetch, folder: Path) -> Path:
    """A data set repository of Hugging Face; the library resumes and checks."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    transport: type[Exception] = HfHubHTTPError.__bases__[
        0
    ]  # of the HTTP library, which changes with the hub library's version
    try:
        got = snapshot_download(
            str(how.repo), repo_type="dataset", revision=how.revision, local_dir=folder, allow_patterns=how.allow
        )
    except GatedRepoError as e:
        raise FetchError(f"{how.repo} is gated: accept its terms at {how.homepage}, then run `hf auth login`") from e
    except HfHubHTTPError as e:
        if e.response is not None and e.response.status_code == 429:
            raise Throttled(f"{how.repo}: HTTP 429, the hub asks for fewer requests; wait, then repeat") from e
        raise FetchError(f"{how.repo}: {e}") from e
    except (OSError, transport) as e:
        raise FetchError(f"{how.repo}: the hub can not be reached: {e.__cause__ or e}; repeat the command") from e
    return Path(got)

"""Downloads against a local server: resume, checks, throttling; YouTube lists against a stand-in for yt-dlp."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from data_recipes import fetch as fetching
from data_recipes import youtube
from data_recipes.__main__ import app
from data_recipes.datasets.card import card_names
from data_recipes.fetch import Fetch, FetchError, RemoteFile, Throttled, catalogue, download
from mllm_avqa.schema.errors import ConfigError

BODY = bytes(range(256)) * 1000
MD5 = hashlib.md5(BODY).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves BODY with ranges; `/cut` stops half way, `/plain` knows no ranges, `/busy` answers 429, `/new` changed."""

    ranges: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.ranges.append(wanted)
        if self.path == "/busy":
            self.send_response(429)
            self.send_header("Retry-After", "120")
            self.end_headers()
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        tag = '"two"' if self.path == "/new" else '"one"'
        start = 0
        if wanted and self.path != "/plain" and self.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(BODY):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(BODY[start : len(BODY) // 2 if self.path == "/cut" and not start else None])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    Server.ranges = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def remote(url: str, **more: Any) -> RemoteFile:
    return RemoteFile(**{"url": url, "bytes": len(BODY), "md5": MD5, "name": "a.zip", **more})


def test_whole_file_and_no_second_request(site: str, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    got = download(remote(site + "/a"), tmp_path, lambda *x: told.append(x))
    assert got.read_bytes() == BODY
    assert told[-1] == ("a.zip", len(BODY), len(BODY))
    assert download(remote(site + "/a"), tmp_path) == got
    assert Server.ranges == [None]
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_broken_connection_is_resumed(site: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="repeat the command"):
        download(remote(site + "/cut"), tmp_path)
    assert (tmp_path / "a.zip.part").stat().st_size == len(BODY) // 2
    assert download(remote(site + "/cut"), tmp_path).read_bytes() == BODY
    assert Server.ranges == [None, f"bytes={len(BODY) // 2}-"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("page", ["/plain", "/new"])
def test_a_server_that_does_not_resume_or_changed_the_file_starts_anew(site: str, tmp_path: Path, page: str) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / "a.zip.part.etag").write_text('"one"')
    assert download(remote(site + page, md5=None), tmp_path).read_bytes() == BODY
    assert Server.ranges == ["bytes=1000-"]


def test_a_finished_part_without_known_size(site: str, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(BODY)
    assert download(remote(site + "/a", bytes=None), tmp_path).read_bytes() == BODY  # the server says 416


def test_wrong_sum_or_size_is_an_error_and_not_resumed(site: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=f"has md5 {MD5}, the publisher says {'0' * 32}"):
        download(remote(site + "/a", md5="0" * 32), tmp_path)
    with pytest.raises(FetchError, match=r"has 256,000 bytes, the publisher says 255,999"):
        download(remote(site + "/a", bytes=len(BODY) - 1, md5=None), tmp_path)
    assert not (tmp_path / "a.zip").exists()
    assert not (tmp_path / "a.zip.part").exists()
    (tmp_path / "a.zip").write_bytes(b"other")
    with pytest.raises(FetchError, match="remove it"):
        download(remote(site + "/a"), tmp_path)


def test_status_codes(site: str, tmp_path: Path) -> None:
    with pytest.raises(Throttled, match=r"429.*wait 120 s"):
        download(remote(site + "/busy"), tmp_path)
    with pytest.raises(FetchError, match="404"):
        download(remote(site + "/gone"), tmp_path)
    with pytest.raises(FetchError, match="repeat the command"):
        download(remote("http://127.0.0.1:9/a"), tmp_path)


def test_no_room_is_said_before_the_download(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(FetchError, match="no room"):
        download(remote(site + "/a"), tmp_path)


def test_command(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = Fetch(kind="direct", homepage="h", files=[remote(site + "/a")], steps=["Unpack it."])
    busy = Fetch(kind="direct", homepage="h", files=[remote(site + "/busy", name="b")])
    monkeypatch.setattr(fetching, "catalogue", lambda: {"a": how, "busy": busy})
    run = CliRunner().invoke
    told = run(app, ["fetch", "a", "-o", str(tmp_path)])
    assert (told.exit_code, told.stdout) == (0, "")
    assert MD5 in told.stderr
    assert "Unpack it." in told.stderr
    assert not Server.ranges
    done = run(app, ["fetch", "a", "-o", str(tmp_path), "--yes"])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'a.zip'}\n")
    assert run(app, ["fetch", "busy", "-o", str(tmp_path), "--yes"]).exit_code == 1
    refused = run(app, ["fetch", "x"])
    assert refused.exit_code == 2
    assert "there are a, busy" in refused.stderr


def test_the_catalogue_is_sound() -> None:
    ways = catalogue()
    assert ways["odaq"].files[0].md5 == "9b4c1eba479ea698995798523eb80999"
    assert ways["odaq"].files[0].file_name == "ODAQ.zip"
    assert set(card_names()) == set(ways) - {"youtube"}, "fetch.yaml uses the names of the cards"
    for how in ways.values():
        assert how.homepage.startswith("https://") or (how.kind, how.homepage) == ("manual", "not known")
        assert all(f.file_name for f in how.files)
        assert len({f.file_name for f in how.files}) == len(how.files)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "direct"},
        {"kind": "hub", "files": [{"url": "https://a/b"}]},
        {"kind": "manual"},
        {"kind": "direct", "files": [{"url": "file:///etc/passwd"}]},
        {"kind": "direct", "files": [{"url": "https://a/b", "name": "../b"}]},
    ],
)
def test_ways_that_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Fetch.model_validate({"homepage": "h", **bad})


def test_a_hub_that_can_not_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FetchError, match="owner/set"):
        fetching.fetch(Fetch(kind="hub", homepage="h", repo="owner/set"), tmp_path)


IDS = ["aaaaaaaaaaa", "-bbbbbbbbbb", "ccccccccccc", "ddddddddddd"]


@pytest.fixture
def tube(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A stand-in for yt-dlp; the returned dict holds the message with which an id fails."""
    trouble: dict[str, str] = {}

    class TransportError(Exception):
        pass

    class DownloadError(Exception):
        def __init__(self, said: str) -> None:
            super().__init__(said)
            self.exc_info = (TransportError if "refused" in said else ValueError, None, None)

    class YoutubeDL:
        def __init__(self, options: dict[str, Any]) -> None:
            self.home = options["paths"]["home"]

        def __enter__(self) -> YoutubeDL:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def extract_info(self, address: str, download: bool) -> dict[str, Any]:
            id = address.removeprefix("https://www.youtube.com/watch?v=")
            if id in trouble:
                raise DownloadError(f"\x1b[0;31mERROR:\x1b[0m [youtube] {id}: {trouble[id]}")
            return {"requested_downloads": [{"filepath": f"{self.home}/{id}.webm"}], "license": "CC BY"}

    module: Any = ModuleType("yt_dlp")
    module.YoutubeDL = YoutubeDL
    module.utils = SimpleNamespace(DownloadError=DownloadError)
    module.networking = SimpleNamespace(exceptions=SimpleNamespace(TransportError=TransportError))
    monkeypatch.setitem(sys.modules, "yt_dlp", module)
    return trouble


def test_videos_one_by_one_with_pauses_and_resume(tube: dict[str, str], tmp_path: Path) -> None:
    pauses: list[float] = []
    tube[IDS[1]] = "Private video"
    done = youtube.fetch_videos(IDS[:3], tmp_path, (1, 2), sleep=pauses.append)
    assert (done.made, list(done.failed), done.kept) == (2, [IDS[1]], 0)
    assert len(pauses) == 2
    assert all(1 <= p <= 2 for p in pauses)
    rows = [json.loads(x) for x in (tmp_path / youtube.STATE).read_text().splitlines()]
    assert rows[0] == {"id": IDS[0], "status": "ok", "file": f"{IDS[0]}.webm", "licence": "CC BY"}
    assert rows[1]["why"] == f"[youtube] {IDS[1]}: Private video"
    tube.clear()
    assert youtube.fetch_videos(IDS, tmp_path, (0, 0)).made == 1  # the failed one is not asked for again
    again = youtube.fetch_videos(IDS, tmp_path, (0, 0), retry_failed=True)
    assert (again.made, again.kept) == (1, 3)


@pytest.mark.parametrize(
    "said",
    ["HTTP Error 429: Too Many Requests", "Sign in to confirm you’re not a bot", "this session has been rate-limited"],
)
def test_throttling_stops_everything(tube: dict[str, str], tmp_path: Path, said: str) -> None:
    tube[IDS[1]] = said
    with pytest.raises(Throttled, match="wait some hours"):
        youtube.fetch_videos(IDS, tmp_path, (0, 0))
    assert len((tmp_path / youtube.STATE).read_text().splitlines()) == 1
    tube.clear()
    assert youtube.fetch_videos(IDS, tmp_path, (0, 0)).made == 3


def test_no_network_marks_nothing_as_failed(tube: dict[str, str], tmp_path: Path) -> None:
    tube[IDS[0]] = "connection refused"
    with pytest.raises(FetchError, match="no connection"):
        youtube.fetch_videos(IDS, tmp_path, (0, 0))
    assert (tmp_path / youtube.STATE).read_text() == ""


def test_a_state_cut_off_by_a_crash(tube: dict[str, str], tmp_path: Path) -> None:
    youtube.fetch_videos(IDS[:1], tmp_path, (0, 0))
    state = tmp_path / youtube.STATE
    state.write_text(state.read_text() + '{"id": "-bbbb')
    assert youtube.fetch_videos(IDS[:2], tmp_path, (0, 0)).made == 1
    assert [json.loads(x)["id"] for x in state.read_text().splitlines()] == IDS[:2]
    state.write_text("no\n" + state.read_text())
    with pytest.raises(ConfigError, match=r"jsonl:1"):
        youtube.fetch_videos(IDS, tmp_path, (0, 0))


def test_without_yt_dlp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    (tmp_path / "ids.txt").write_text(IDS[0])
    done = CliRunner().invoke(
        app, ["fetch", "youtube", "--ids", str(tmp_path / "ids.txt"), "-o", str(tmp_path), "--yes"]
    )
    assert done.exit_code == 1
    assert 'pip install "mllm-avqa[youtube]"' in done.stderr


def test_lists(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text(
        f"# SJTU\n{IDS[0]}\n\nhttps://www.youtube.com/watch?v={IDS[1]}&t=3s # again\nhttps://youtu.be/{IDS[2]}\n{IDS[0]}\n"
    )
    assert youtube.read_ids(path) == IDS[:3]
    path.write_text(f"{IDS[0]}\nhttps://example.org/{IDS[1]}\n")
    with pytest.raises(ConfigError, match=r"ids\.txt:2: .*--ids"):
        youtube.read_ids(path)
    path.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="no ids"):
        youtube.read_ids(path)

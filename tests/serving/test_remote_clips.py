"""Clips of other hosts: what a stranger's address must not reach, and what an allowed one gives."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mllm_avqa.schema.errors import MediaTooLarge
from mllm_avqa.serving.refusals import NotAllowed, RemoteFailed
from mllm_avqa.serving.remote import Remote, is_public

INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_of_inner_networks_are_not_public(address: str):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_addresses_of_the_open_network_are(address: str):
    assert is_public(address)


class Host(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest")
            self.end_headers()
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # the client leaves, as it should
                for _ in range(40):
                    self.wfile.write(b"x")
                    time.sleep(0.05)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.headers["Host"].encode() if self.path == "/who?a=b" else b"x" * 5000)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every name is 127.0.0.1 at the first look and an inner address at any later one."""
    seen: list[str] = []

    def look(host: str, port: int, *_: object, **__: object) -> list[tuple]:
        seen.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1" if len(seen) == 1 else "10.0.0.1", port))]

    monkeypatch.setattr("mllm_avqa.serving.remote.socket.getaddrinfo", look)
    monkeypatch.setattr("mllm_avqa.serving.remote.socket.create_connection", _straight)
    return seen


def _straight(address: tuple[str, int], timeout: float) -> socket.socket:
    """Connects to the very address it is given: no further look-up."""
    sock = socket.socket()
    sock.settimeout(timeout)
    sock.connect(address)
    return sock


def test_an_allowed_host_is_looked_up_once_and_asked_at_that_address(looked_up, port: int, tmp_path: Path):
    remote = Remote([f"media.example:{port}"], 10_000, 5, public=lambda a: a == "127.0.0.1")
    remote.fetch(f"http://media.example:{port}/who?a=b", tmp_path / "x")
    assert (tmp_path / "x").read_text() == f"media.example:{port}" and looked_up == ["media.example"]


def test_a_name_that_leads_inside_is_not_asked_though_it_is_allowed(looked_up, port: int, tmp_path: Path):
    with pytest.raises(NotAllowed, match="open network"):
        Remote([f"media.example:{port}"], 10_000, 5).fetch(f"http://media.example:{port}/x", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_redirects_sizes_and_time_are_bounded(looked_up, port: int, tmp_path: Path):
    def fetch(path: str, most: int = 10_000, seconds: float = 5.0) -> None:
        looked_up.clear()
        remote = Remote([f"media.example:{port}"], most, seconds, public=lambda a: a == "127.0.0.1")
        remote.fetch(f"http://media.example:{port}{path}", tmp_path / "x")

    with pytest.raises(RemoteFailed, match="302"):
        fetch("/away")
    with pytest.raises(MediaTooLarge):
        fetch("/big", most=1000)
    with pytest.raises(RemoteFailed, match=r"more than 0\.2 s"):
        fetch("/slow", seconds=0.2)


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/a.mp4",
        "http://media.example@other.example/",
        "http://user:word@media.example/",
        "http://media.example:22/",
        "http://media.example.other.example/",
        "http://[::1/",
        "http://media.example:port/",
        "ftp://media.example/",
        "http:///a",
    ],
)
def test_other_addresses_are_never_looked_up(looked_up, url: str, tmp_path: Path):
    with pytest.raises(NotAllowed):
        Remote(["media.example"], 10_000, 5).fetch(url, tmp_path / "x")
    assert looked_up == []

"""A server in this process, with the embedded model; it is loaded once for all tests."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
sys.path.insert(0, str(Path(__file__).parents[1] / "eval"))
from fastapi.testclient import TestClient
from small_clips import write

from mllm_avqa.rater import Rater
from mllm_avqa.serving.app import make_app
from mllm_avqa.serving.bounds import ServerBounds

Serve = Callable[..., TestClient]


@pytest.fixture(scope="session")
def rater() -> Iterator[Rater]:
    rater = Rater.from_pretrained("nano", threads=1)
    yield rater
    rater.close()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "short clip.mp4"
    write(path)
    return path


def ready(client: TestClient) -> TestClient:
    end = time.monotonic() + 60
    while client.get("/readyz").status_code != 200 and time.monotonic() < end:
        time.sleep(0.02)
    return client


@pytest.fixture(scope="session")
def client(rater: Rater, clip: Path) -> Iterator[TestClient]:
    """One server that many tests share; its media root is the folder of the clip."""
    app = make_app(lambda: rater, most_bytes=2_000_000, media_root=clip.parent)
    with TestClient(app, raise_server_exceptions=False) as c:
        yield ready(c)


@pytest.fixture
def serve(rater: Rater) -> Iterator[Serve]:
    """serve(bounds=ServerBounds(...), keys=[...], ...) is a server of its own."""
    opened: list[TestClient] = []

    def start(load: Callable[[], Rater] = lambda: rater, wait: bool = True, **options: object) -> TestClient:
        app = make_app(load, **({"most_bytes": 2_000_000} | options))  # type: ignore[arg-type]
        c = TestClient(app, raise_server_exceptions=False)
        c.__enter__()
        opened.append(c)
        return ready(c) if wait else c

    yield start
    for c in opened:
        c.__exit__(None, None, None)


@contextmanager
def listening(app: object) -> Iterator[str]:
    """The address of an app on a real port, once its model is loaded."""
    import uvicorn

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))  # type: ignore[arg-type]
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
        thread.start()
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        try:
            _wait(address)
            yield address
        finally:
            server.should_exit = True
            thread.join(20)


def _wait(address: str) -> None:
    """Until it is ready to rate."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{address}/readyz", timeout=5)
            return
        except OSError:
            time.sleep(0.05)


@pytest.fixture(scope="session")
def listen() -> Callable[[object], AbstractContextManager[str]]:
    return listening


@pytest.fixture(scope="session")
def address(rater: Rater, clip: Path) -> Iterator[str]:
    """A server on a real port, with a key and the clip's folder as media root."""
    app = make_app(
        lambda: rater, most_bytes=2_000_000, media_root=clip.parent, keys=["first-key", "second-key"],
        bounds=ServerBounds(held=2),
    )  # fmt: skip
    with listening(app) as address:
        yield address

"""`mllm-avqa serve`: one rater behind HTTP."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from mllm_avqa.cli_support import RaterOptions, flattened, reported
from mllm_avqa.schema.errors import ConfigError
from mllm_avqa.serving.bounds import ServerBounds

_NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


@dataclass(frozen=True)
class ServedRaterOptions(RaterOptions):
    """A stranger's clip may cost less than one's own."""

    max_bytes: Annotated[int, typer.Option(min=1, help="Size of a clip.")] = 256 * 2**20
    max_duration: Annotated[float, typer.Option(min=0.1, help="Seconds of media.")] = 1800.0
    max_pixels: Annotated[int, typer.Option(min=1, help="Width x height of a frame.")] = 4096 * 2304


@flattened
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one; it is printed.")] = 8000,
    api_key: Annotated[
        list[str] | None, typer.Option(help="Key that opens the server; repeatable. Better: --api-key-file.")
    ] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with one key a line; # begins a comment.")] = None,
    media_root: Annotated[Path | None, typer.Option(help="Folder whose files requests may name by path.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Host (or host:port) that clips may be fetched from; repeatable.")
    ] = None,
    server_name: Annotated[
        list[str] | None, typer.Option(help="Name that browsers know the server by, behind a proxy; repeatable.")
    ] = None,
    bounds: ServerBounds = ServerBounds(),
    options: ServedRaterOptions = ServedRaterOptions(),
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and all log messages.")] = False,
) -> None:
    """Serve ratings, chat in the OpenAI protocol and a web page. SIGTERM finishes what is under way."""
    with reported(debug) as console:
        if missing := [name for name in _NEEDED if find_spec(name) is None]:
            raise ConfigError(f"serve needs {', '.join(missing)}: pip install 'mllm-avqa[serve]'")
        import uvicorn

        from mllm_avqa.serving.app import make_app
        from mllm_avqa.serving.heads import impatient

        errors: list[Exception] = []

        def failed(error: Exception) -> None:
            errors.append(error)
            server.should_exit = True

        keys = _keys(api_key or [], api_key_file)
        app = make_app(
            options.load, language=options.lang, most_bytes=options.max_bytes, bounds=bounds,
            keys=keys, media_root=media_root, hosts=allow_host or (), failed=failed,
            names=_names(host, server_name or [], bool(keys)),
        )  # fmt: skip
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=debug,
                server_header=False,
                http=impatient(bounds.head_seconds),
                limit_concurrency=bounds.places * 8,
                timeout_keep_alive=15,
                ws="none",
                timeout_graceful_shutdown=round(bounds.drain_seconds),
            )
        )
        with _listening(host, port) as sock, _draining():
            name = f"[{host}]" if ":" in host else host
            console.print(f"listening on http://{name}:{sock.getsockname()[1]}")
            server.run(sockets=[sock])
        if errors:
            raise errors[0]


def _keys(given: list[str], file: Path | None) -> list[str]:
    """Keys by flag and file. Raises ConfigError for a file that can not be read or holds none, and for short keys."""
    keys = list(given)
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(f"{file}: can not be read: {e} (--api-key-file)") from e
        found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if not found:
            raise ConfigError(f"{file}: there is no key in it (--api-key-file)")
        keys += found
    if any(len(k) < 8 or not k.isascii() for k in keys):
        raise ConfigError("a key has at least 8 ASCII characters (--api-key, --api-key-file)")
    return keys


def _names(host: str, given: list[str], locked: bool) -> list[str]:
    """Names the server answers to. One that is open, but for this machine alone, does not trust any other."""
    own = ["localhost", "127.0.0.1", "[::1]"]
    return [*own, *given] if not locked and host in ("localhost", "127.0.0.1", "::1") else []


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket. Raises ConfigError where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as e:
            raise ConfigError(f"{host} port {port}: {e.strerror or e} (--host, --port)") from e
        yield sock


@contextmanager
def _draining() -> Iterator[None]:
    """Inside, a signal is the server's alone: it has more patience than other commands are given."""
    before = signal.set_wakeup_fd(-1) if threading.current_thread() is threading.main_thread() else None
    try:
        yield
    finally:
        if before is not None:
            signal.set_wakeup_fd(before)

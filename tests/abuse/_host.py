"""A real server in a process of its own, for those who load and abuse it."""

from __future__ import annotations

import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "eval"))
from small_clips import write

KEY, OTHER = "first-key-of-two", "second-key-of-two"
HOSTS = ("localhost", "metadata.internal", "127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.0.1", "[::1]", "2130706433")
LEAKS = re.compile(rb"Traceback|/tmp/|root:|mllm_avqa/|<script>alert|<img src=x")
HEAD, BODY = 3, 4  # seconds that this server waits for a head and for a body


@dataclass
class Host:
    """A running server, and what has come back from it."""

    port: int
    process: subprocess.Popen[str]
    clip: bytes
    leaks: list[bytes] = field(default_factory=list)

    def ask(
        self, method: str, path: str, body: bytes = b"", key: str = KEY, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            c.request(method, path, body or None, {"Authorization": f"Bearer {key}"} | headers)
            answer = c.getresponse()
            content = answer.read()
            if LEAKS.search(content):
                self.leaks.append(content[:300])
            return answer.status, content, {k.lower(): v for k, v in answer.getheaders()}
        finally:
            c.close()

    def json(self, path: str, value: object, key: str = KEY) -> int:
        return self.ask("POST", path, json.dumps(value).encode(), key, **{"Content-Type": "application/json"})[0]

    def upload(self, query: str = "", name: str = "a.mp4", clip: bytes | None = None, **headers: str):
        body, kind = form(self.clip if clip is None else clip, name)
        return self.ask("POST", f"/v1/ratings?{query}", body, **{"Content-Type": kind} | headers)

    def raw(self, data: bytes, seconds: float = 20.0) -> bytes:
        """What comes back for bytes, until the server hangs up or nothing comes for so long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as s, suppress(OSError):
            s.sendall(data)
            found = b""
            while part := s.recv(65536):
                found += part
            return found
        return b""

    def taken(self) -> float:
        text = self.ask("GET", "/metrics")[1].decode()
        return float(re.findall(r"^avqa_places_taken (\S+)", text, re.MULTILINE)[0])

    def free(self, seconds: float = 60.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.taken() == 0:
                return True
            time.sleep(0.2)
        return False

    def memory(self) -> float:
        """MB of the server and its decoding processes."""
        pids = [self.process.pid, *_children(self.process.pid)]
        pages = 0
        for pid in pids:
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(c) for c in task.read_text().split()]
    return found


def form(clip: bytes, name: str = "a.mp4", text: str = "") -> tuple[bytes, str]:
    parts = [f'--xx\r\nContent-Disposition: form-data; name="text"\r\n\r\n{text}\r\n'.encode()] if text else []
    head = f'--xx\r\nContent-Disposition: form-data; name="clip"; filename="{name}"\r\n\r\n'.encode()
    return b"".join([*parts, head, clip, b"\r\n--xx--\r\n"]), "multipart/form-data; boundary=xx"


@contextmanager
def server(*options: str) -> Iterator[Host]:
    """`mllm-avqa serve` with two keys, a media root with a clip and a link out of it, and no limit on requests."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir()
        write(root / "a.mp4")
        (root / "link.mp4").symlink_to("/etc/passwd")
        (Path(folder) / "keys").write_text(f"# of two people\n{KEY}\n{OTHER}\n")
        spool = Path(folder) / "spool"
        spool.mkdir()
        command = [
            sys.executable, "-m", "mllm_avqa", "serve", "--port", "0", "--threads", "1", "--media-root", str(root),
            "--api-key-file", f"{folder}/keys", "--per-minute", "1e9", "--max-bytes", "2000000",
            "--json-bytes", "3000000",
            "--head-seconds", str(HEAD), "--body-seconds", str(BODY), *(o for h in HOSTS for o in ("--allow-host", h)),
            *options,
        ]  # fmt: skip
        env = os.environ | {"TMPDIR": str(spool)}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
            try:
                assert process.stderr is not None
                port = int(re.findall(r":(\d+)$", process.stderr.readline().strip())[0])
                threading.Thread(target=process.stderr.read, daemon=True).start()
                host = Host(port, process, (root / "a.mp4").read_bytes())
                while process.poll() is None:
                    with suppress(OSError):
                        if host.ask("GET", "/readyz")[0] == 200:
                            break
                    time.sleep(0.2)
                yield host
                process.send_signal(signal.SIGTERM)
                assert process.wait(120) == 128 + signal.SIGTERM
                left = [p for p in spool.rglob("*") if p.is_file()]
                assert not left, left
            finally:
                process.kill()

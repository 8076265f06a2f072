"""`python -m tests.abuse serving`: a real server under load, and everything strangers send to one. Prints Markdown.

Hours are not needed: `--clients 100 --seconds 300` is the published run (docs/benchmarks).
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import random
import socket
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from _host import BODY, HEAD, HOSTS, KEY, LEAKS, OTHER, Host, form, server

TRAVERSALS = (
    "../../etc/passwd", "/etc/passwd", "....//etc/passwd", "file:///etc/passwd", "file:///%2e%2e/etc/passwd",
    "..\\..\\etc\\passwd", "link.mp4", "/proc/self/environ", "/dev/zero", "\0", "%00", "~root", ".", "", "a" * 9000,
)  # fmt: skip
RENDER, GENERATE = "/v1/chat/completions/render", "/inference/v1/generate"
JUNKED = ("/v1/ratings", "/v1/chat/completions", RENDER, GENERATE)
HTML = "<script>alert(1)</script><img src=x onerror=alert(2)>"


# ---- what strangers send: each gives the statuses that came back -----------------------------------------------------


def slow_body(h: Host) -> set[object]:
    body, kind = form(h.clip)
    head = f"POST /v1/ratings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {kind}\r\n"
    with socket.create_connection(("127.0.0.1", h.port), timeout=60) as s:
        s.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        with suppress(OSError):
            for k in range(3 * BODY):
                s.sendall(body[k : k + 1])
                time.sleep(0.5)
        return {int(s.recv(100).split()[1])}


def slow_head(h: Host) -> set[object]:
    begin = time.monotonic()
    answer = h.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    return {"hung up" if not answer and time.monotonic() - begin < HEAD + 10 else answer[:40]}


def half_upload(h: Host) -> set[object]:
    body, kind = form(h.clip)
    head = f"POST /v1/ratings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {kind}\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", h.port), timeout=60) as s:
            s.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) // 2])
    return {"free" if h.free() else "held"}


def gone(h: Host) -> set[object]:
    body, kind = form(h.clip)
    head = f"POST /v1/ratings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: {kind}\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", h.port), timeout=60) as s:
            s.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return {"free" if h.free() else "held"}


def junk(h: Host, count: int) -> set[object]:
    """Random methods, paths, headers and bodies, on a few connections at a time."""
    seen: Counter[object] = Counter()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(count // 8):
            path = "/" + "".join(rng.choice("abcv1/.%?&=;~ratingscho") for _ in range(rng.randrange(60)))
            method = rng.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
            try:
                c = http.client.HTTPConnection("127.0.0.1", h.port, timeout=60)
                if rng.random() < 0.1:
                    answer = h.raw(rng.randbytes(200) + b"\r\n\r\n")
                    seen[int(answer.split()[1]) if answer else "hung up"] += 1
                    continue
                kind = rng.choice(["application/json", "multipart/form-data; boundary=xx", "text/plain", "\x01"])
                wanted = path if rng.random() < 0.5 else rng.choice(JUNKED)
                c.request(
                    method,
                    wanted,
                    rng.randbytes(rng.randrange(300)),
                    {"Content-Type": kind, "Authorization": f"Bearer {KEY}"},
                )
                answer = c.getresponse()
                if LEAKS.search(answer.read()):
                    h.leaks.append(path.encode())
                page = answer.status == 200 and method == "GET" and wanted.partition("?")[0] == "/"
                seen["the page" if page else answer.status] += 1
                c.close()
            except (OSError, http.client.HTTPException) as e:
                seen[type(e).__name__] += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return set(seen)


def hostile_text(h: Host) -> set[object]:
    body, kind = form(h.clip, HTML.replace('"', ""), HTML)
    found = {h.ask("POST", "/v1/ratings", body, **{"Content-Type": kind, "Accept": "text/html"})[0]}
    return found | {h.upload(name=HTML, Accept="text/html")[0]}


def another_key(h: Host) -> set[object]:
    _, told, headers = h.upload("hold=true")
    held = json.loads(told)["content_hash"]
    part = {"type": "video_url", "video_url": {"url": f"sha256:{held}"}}
    ask = {"model": "nano", "messages": [{"role": "user", "content": [part, {"type": "text", "text": "Noise?"}]}]}
    place = headers["location"]
    return {h.ask(m, place, key=OTHER)[0] for m in ("GET", "DELETE")} | {h.json("/v1/chat/completions", ask, OTHER)}


def idle(h: Host) -> set[object]:
    """More silent connections than the server has room for, and then somebody who asks."""
    with suppress(OSError):
        crowd = [socket.create_connection(("127.0.0.1", h.port), timeout=5) for _ in range(400)]
    time.sleep(HEAD + 1)
    found = {h.ask("GET", "/readyz")[0]}
    for s in crowd:
        s.close()
    return found


def cases(count: int) -> dict[str, tuple[set[object], Callable[[Host], set[object]]]]:
    """By name: statuses that are right, and what is sent."""
    url = "data:video/mp4;base64," + base64.b64encode(b"x" * 100).decode()
    remote = [
        *(f"http://{h}/latest/meta-data" for h in HOSTS), "http://elsewhere.example/a.mp4", "ftp://localhost/a", "http://",
        "http://localhost:22/", "http://user@localhost/", "https://169.254.169.254/", "http://localhost@elsewhere.example/",
    ]  # fmt: skip
    wrong = [{"clip": 5}, {"clip": None}, {"clip": ["a"]}, {"clip": "a", "x": 1}, [], "a", 5, None]
    chats = [
        {"model": "nano", "messages": m} for m in ("a", [], [5], [{"role": "x"}], [{"role": "user", "content": 5}])
    ]
    rate, chat = "/v1/ratings", "/v1/chat/completions"
    how = {"do_resize": False, "do_sample_frames": False, "fps": 2.0}
    views = [
        {"model": "nano", "mm_processor_kwargs": how, "messages": [{"role": "user", "content": [part]}]}
        for part in (
            {"type": "video_url", "video_url": {"url": "data:video/jpeg;base64,AAAA"}},
            {"type": "video_url", "video_url": {"url": "file:///etc/passwd"}},
            {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AAAA"}},
        )
    ]
    prompt = {"model": "nano", "features": {"kwargs_data": {}},
              "sampling_params": {"max_tokens": 1, "logprob_token_ids": [1]}}  # fmt: skip
    prompts = [prompt | {"token_ids": ids} for ids in ([], [-1], [10**9], [1] * 9000)]
    kinds = {"Content-Type": "application/json"}
    return {
        "body that drips in": ({408}, slow_body),
        "head that never ends": ({"hung up"}, slow_head),
        "20 half uploads: places and files are given back": ({"free"}, half_upload),
        "20 clients gone before their answer: the same": ({"free"}, gone),
        f"{count} junk requests": ({400, 404, 405, 408, 415, 422, "hung up", "the page"}, lambda h: junk(h, count)),
        "400 silent connections, then a question": ({200}, idle),
        f"path traversal, {len(TRAVERSALS)} ways": ({404}, lambda h: {h.json(rate, {"clip": t}) for t in TRAVERSALS}),
        f"addresses inside, {len(remote)} ways, their names allowed": (
            {403, 404, 502}, lambda h: {h.json(rate, {"clip": r}) for r in remote},
        ),
        "the same through a chat": ({403, 404, 502}, lambda h: {h.json(chat, _about(r)) for r in remote}),
        "HTML and script in name and text, as report": ({200}, hostile_text),
        "JSON of 5 MB (3 allowed)": ({413}, lambda h: {h.json(rate, {"clip": "x" * 5_000_000})}),
        "upload of 5 MB (2 allowed)": ({413}, lambda h: {h.upload(clip=b"x" * 5_000_000)[0]}),
        "100,000 brackets": ({400}, lambda h: {h.ask("POST", rate, b"[" * 100_000, **kinds)[0]}),
        "wrong types": ({422}, lambda h: {h.json(rate, w) for w in wrong} | {h.json(chat, c) for c in chats}),
        "views that are none, prompts that do not fit": (
            {422}, lambda h: {h.json(RENDER, v) for v in views} | {h.json(GENERATE, p) for p in prompts},
        ),
        "no media": ({415}, lambda h: {h.upload(clip=b"x" * 999)[0], h.json(rate, {"clip": url})}),
        "unknown model": ({404}, lambda h: {h.json(chat, _about(url) | {"model": "x"})}),
        "wrong key": ({401}, lambda h: {h.ask("GET", "/v1/models", key=k)[0] for k in ("", "x", KEY[:-1], KEY + "x")}),
        "another's rating and held clip": ({404}, another_key),
        "head of 1 MB": ({400, 431, "hung up"}, lambda h: {_status(h.raw(b"GET / HTTP/1.1\r\nX: " + b"a" * 10**6))}),
    }  # fmt: skip


def _about(url: str) -> dict[str, object]:
    parts = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": "Noise?"}]
    return {"model": "nano", "messages": [{"role": "user", "content": parts}]}


def _status(answer: bytes) -> object:
    return int(answer.split()[1]) if answer else "hung up"


@dataclass
class Outcome:
    name: str
    right: set[object]
    found: set[object]
    alive: bool

    @property
    def good(self) -> bool:
        return self.alive and bool(self.found) and self.found <= self.right


def abuse(h: Host, count: int) -> list[Outcome]:
    outcomes = []
    for name, (right, call) in cases(count).items():
        print(f"{name} ...", file=sys.stderr)
        found = call(h)
        outcomes.append(Outcome(name, right, found, h.ask("GET", "/readyz")[0] == 200 and h.free()))
    return outcomes


# ---- load ------------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)  # of answers with a rating
    memory: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def load(h: Host, clients: int, seconds: float) -> Load:
    """Clients that send small clips one after the other, and come back when they are told to."""
    found, end, lock = Load(seconds), time.monotonic() + seconds, threading.Lock()

    def client() -> None:
        while time.monotonic() < end:
            begin = time.monotonic()
            try:
                status, _, headers = h.upload("explain=false")
            except (OSError, http.client.HTTPException):
                status, headers = 0, {}
            with lock:
                found.statuses[status] += 1
                if status == 200:
                    found.latencies.append(time.monotonic() - begin)
            if status != 200:
                time.sleep(min(float(headers.get("retry-after", 1)), max(0.0, end - time.monotonic())))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        found.memory.append(h.memory())
        time.sleep(min(2.0, seconds / 20))
    return found


def told(found: Load, clients: int) -> str:
    third = max(1, len(found.memory) // 3)
    memory = [statistics.median(found.memory[k : k + third]) for k in (third, len(found.memory) - third)]
    statuses = ", ".join(f"{n} x {s or 'no answer'}" for s, n in sorted(found.statuses.items()))
    rated = found.statuses[200]
    return "\n".join(
        [
            f"| {clients} clients for {found.seconds:g} s | |",
            "|---|---|",
            f"| answers | {statuses} |",
            f"| clips/s | {rated / found.seconds:.2f} |",
            f"| a clip, p50 / p95 | {found.quantile(0.5):.2f} s / {found.quantile(0.95):.2f} s |",
            f"| memory, second / last third of the run | {memory[0]:.0f} MB / {memory[1]:.0f} MB |",
        ]
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.abuse serving", description=__doc__)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--junk", type=int, default=1000, help="junk requests")
    given = parser.parse_args(arguments)
    with server() as h:
        found = load(h, given.clients, given.seconds) if given.clients else None
        before = h.memory()
        outcomes = abuse(h, given.junk)
        after = h.memory()
    if found is not None:
        print(told(found, given.clients), end="\n\n")
    print("| what is sent | right | came back | |\n|---|---|---|---|")
    for o in outcomes:
        right, came = (", ".join(sorted(map(str, s))) for s in (o.right, o.found))
        print(f"| {o.name} | {right} | {came} | {'ok' if o.good else '**wrong**'} |")
    print(f"\nMemory before and after all of it: {before:.0f} MB, {after:.0f} MB. Leaks: {h.leaks or 'none'}.")
    bad = found is not None and set(found.statuses) - {200, 202, 429, 503}
    return int(bool(bad) or bool(h.leaks) or not all(o.good for o in outcomes))

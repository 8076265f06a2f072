"""A chat-completions client for any server of the OpenAI protocol: retries, no redirects, no secrets in errors.

Protocol: https://platform.openai.com/docs/api-reference/chat, the part that vLLM, llama.cpp and Ollama share.
"""

from __future__ import annotations

import json
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException, HTTPResponse
from itertools import islice
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from mllm_avqa.schema.errors import AvqaError, ConfigError

log = logging.getLogger(__name__)
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})  # statuses that may pass
LONGEST_WAIT = 60.0  # seconds between two attempts, whatever the server asks for
MOST_BYTES = 4_000_000  # of an answer
FLAGS = ("--endpoint", "--model", "--key-env")
GIVE_UP = 6  # items in a row without an answer before the rest is not tried
Item = TypeVar("Item")
Result = TypeVar("Result")


class EndpointUnavailable(AvqaError):
    """The server does not answer, or not usably, after all attempts."""

    kind = "endpoint_unavailable"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected request would carry the key to wherever it points."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


@dataclass(frozen=True)
class Reply:
    """text: None when the server cut the answer off, filtered it or left it empty. model: what says it answered."""

    text: str | None
    model: str
    fingerprint: str | None = None  # of the server's configuration (`system_fingerprint`)


@dataclass(frozen=True)
class Endpoint:
    """Where to send chats. Make it with `open`, which checks what the user gave."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    temperature: float | None = None
    timeout: float = 120.0  # seconds per attempt
    attempts: int = 5
    first_wait: float = 1.0  # seconds before the second attempt; doubles from there
    flags: tuple[str, str, str] = FLAGS  # what the user typed for address, model and key, for messages

    @classmethod
    def open(
        cls,
        base: str,
        model: str,
        key_env: str | None = None,
        temperature: float | None = None,
        timeout: float = 120.0,
        flags: tuple[str, str, str] = FLAGS,
    ) -> Endpoint:
        """`base` is http(s)://host[:port]/v1 or the full address that ends in /chat/completions.

        Raises ConfigError for another kind of address and for a variable `key_env` that is not set.
        """
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"endpoint {base!r} is no address; allowed: http://host:port/v1, https://... ({flags[0]})"
            )
        key = None
        if key_env is not None:
            key = os.environ.get(key_env)
            if not key:
                raise ConfigError(f"environment variable {key_env!r} is not set or empty ({flags[2]})")
        path = base.rstrip("/")
        url = path if path.endswith("/chat/completions") else path + "/chat/completions"
        return cls(url, model, key, temperature, timeout, flags=flags)

    def chat(self, system: str, user: str) -> str | None:
        """The text of `ask`."""
        return self.ask(system, user).text

    def ask(self, system: str, user: str, seed: int | None = None) -> Reply:
        """The answer to one message. Equal seeds ask for equal answers, different ones for another sample.

        Raises ConfigError for what no retry mends (unknown model, wrong key, wrong address) and EndpointUnavailable
        when all attempts failed.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if seed is not None:
            body["seed"] = seed
        reason, pause = "", 0.0
        for attempt in range(self.attempts):
            time.sleep(pause)
            pause = min(LONGEST_WAIT, self.first_wait * 2**attempt)
            try:
                return _reply(self._post(json.dumps(body).encode()), self.model)
            except urllib.error.HTTPError as e:
                with e:
                    reason = f"status {e.code}: {e.read(300).decode('utf-8', 'replace').strip()}"
                if e.code not in RETRIED:
                    raise ConfigError(f"{self.url} refuses: {reason} ({', '.join(self.flags)})") from e
                pause = _asked_wait(e.headers, pause)
            except (OSError, HTTPException, ValueError) as e:  # not reached, broken off, or not the protocol
                reason = f"{type(e).__name__}: {e}"
            log.warning("%s: %s (attempt %d of %d)", self.url, reason, attempt + 1, self.attempts)
        raise EndpointUnavailable(f"{self.url} failed {self.attempts} times, last: {reason} ({self.flags[0]})")

    def _post(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.url, body, headers)
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=self.timeout) as answer:
            return json.loads(_read(answer, time.monotonic() + self.timeout))


def each(items: Iterable[Item], call: Callable[[Item], Result], jobs: int) -> Iterator[tuple[Item, Result | Exception]]:
    """call(item) of every item, at most `jobs` at a time, as they are done; what was not answered gives its reason.

    After `GIVE_UP` items in a row without an answer (EndpointUnavailable) the rest is not tried and not given. Any
    other error ends it: raised here once the calls under way are over.
    """
    waiting, missed = iter(items), 0
    with ThreadPoolExecutor(jobs) as pool:
        running: dict[Future[Result], Item] = {}
        while missed < GIVE_UP:
            running |= {pool.submit(call, i): i for i in islice(waiting, jobs - len(running))}
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(done)
                try:
                    result: Result | Exception = done.result()
                    missed = 0
                except EndpointUnavailable as e:
                    result, missed = e, missed + 1
                yield item, result


def _read(answer: HTTPResponse, deadline: float) -> bytes:
    """The whole body. Raises TimeoutError when it drips in beyond the deadline, ValueError when it is too long."""
    parts, size = [], 0
    while part := answer.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise ValueError(f"the answer is longer than {MOST_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("the answer was not complete in time")
    return b"".join(parts)


def _reply(answer: Any, asked: str) -> Reply:
    """choices[0].message.content of a finished answer. Raises ValueError when the answer is not of the protocol."""
    try:
        choice = answer["choices"][0]
        content = choice["message"]["content"]
        finished = choice.get("finish_reason") in (None, "stop")
    except (KeyError, IndexError, TypeError, AttributeError) as e:
        raise ValueError(f"not a chat completion: {json.dumps(answer)[:200]}") from e
    if content is not None and not isinstance(content, str):
        raise ValueError(f"content is {type(content).__name__}, not text")
    text = content.strip() or None if content and finished else None
    fingerprint = answer.get("system_fingerprint")
    return Reply(text, str(answer.get("model") or asked), None if fingerprint is None else str(fingerprint))


def _asked_wait(headers: Message, wait: float) -> float:
    """Seconds of Retry-After, where the server gives a number."""
    try:
        return min(LONGEST_WAIT, max(wait, float(headers.get("Retry-After", ""))))
    except ValueError:
        return wait

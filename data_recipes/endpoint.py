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
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import IO, Any
from urllib.parse import urlsplit

from mllm_avqa.errors import AvqaError, ConfigError

log = logging.getLogger(__name__)
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})  # statuses that may pass
LONGEST_WAIT = 60.0  # seconds between two attempts, whatever the server asks for
MOST_BYTES = 4_000_000  # of an answer


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
class Endpoint:
    """Where to send chats. Make it with `open`, which checks what the user gave."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    temperature: float | None = None
    timeout: float = 120.0  # seconds per attempt
    attempts: int = 5
    first_wait: float = 1.0  # seconds before the second attempt; doubles from there

    @classmethod
    def open(
        cls, base: str, model: str, key_env: str | None = None, temperature: float | None = None, timeout: float = 120.0
    ) -> Endpoint:
        """`base` is http(s)://host[:port]/v1 or the full address that ends in /chat/completions.

        Raises ConfigError for another kind of address and for a variable `key_env` that is not set.
        """
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"endpoint {base!r} is no address; allowed: http://host:port/v1, https://... (--endpoint)"
            )
        key = None
        if key_env is not None:
            key = os.environ.get(key_env)
            if not key:
                raise ConfigError(f"environment variable {key_env!r} is not set or empty (--key-env)")
        path = base.rstrip("/")
        url = path if path.endswith("/chat/completions") else path + "/chat/completions"
        return cls(url, model, key, temperature, timeout)

    def chat(self, system: str, user: str) -> str | None:
        """The answer to one message; None when the server cut it off, filtered it or left it empty.

        Raises ConfigError for what no retry mends (unknown model, wrong key, wrong address) and EndpointUnavailable
        when all attempts failed.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        reason, wait = "", 0.0
        for attempt in range(self.attempts):
            time.sleep(wait)
            wait = min(LONGEST_WAIT, self.first_wait * 2**attempt)
            try:
                return _content(self._post(json.dumps(body).encode()))
            except urllib.error.HTTPError as e:
                with e:
                    reason = f"status {e.code}: {e.read(300).decode('utf-8', 'replace').strip()}"
                if e.code not in RETRIED:
                    raise ConfigError(f"{self.url} refuses: {reason} (--endpoint, --model, --key-env)") from e
                wait = _asked_wait(e.headers, wait)
            except (OSError, HTTPException, ValueError) as e:  # not reached, broken off, or not the protocol
                reason = f"{type(e).__name__}: {e}"
            log.warning("%s: %s (attempt %d of %d)", self.url, reason, attempt + 1, self.attempts)
        raise EndpointUnavailable(f"{self.url} failed {self.attempts} times, last: {reason} (--endpoint)")

    def _post(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.url, body, headers)
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=self.timeout) as answer:
            raw = answer.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise ValueError(f"the answer is longer than {MOST_BYTES} bytes")
        return json.loads(raw)


def _content(answer: Any) -> str | None:
    """choices[0].message.content of a finished answer. Raises ValueError when the answer is not of the protocol."""
    try:
        choice = answer["choices"][0]
        content = choice["message"]["content"]
        finished = choice.get("finish_reason") in (None, "stop")
    except (KeyError, IndexError, TypeError, AttributeError) as e:
        raise ValueError(f"not a chat completion: {json.dumps(answer)[:200]}") from e
    if content is not None and not isinstance(content, str):
        raise ValueError(f"content is {type(content).__name__}, not text")
    return content.strip() or None if content and finished else None


def _asked_wait(headers: Message, wait: float) -> float:
    """Seconds of Retry-After, where the server gives a number."""
    try:
        return min(LONGEST_WAIT, max(wait, float(headers.get("Retry-After", ""))))
    except ValueError:
        return wait

"""A chat-completions client for any server of the OpenAI protocol: retries, no redirects, no secrets in errors.

Protocol: https://platform.openai.com/docs/api-reference/chat, the part that vLLM, llama.cpp and Ollama share.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mllm_avqa.schema.errors import AvqaError, ConfigError

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)
RETRIED = frozenset({408, 409, 425, 429, *range(500, 600)})  # statuses that may pass
MOST_BYTES = 4_000_000  # of an answer
_PATH = "/chat/completions"
FLAGS = ("--endpoint", "--model", "--key-env")
GIVE_UP = 6  # items in a row without an answer before the rest is not tried
Item = TypeVar("Item")
Result = TypeVar("Result")


class EndpointUnavailable(AvqaError):
    """The server does not answer, or not usably, after all attempts."""

    kind = "endpoint_unavailable"


class EndpointRefuses(ConfigError):
    """What no retry mends: an unknown model, a wrong key or address, a field the server does not know."""

    status = 400


@dataclass(frozen=True)
class Reply:
    """text: None when the server cut the answer off, filtered it or left it empty. model: what says it answered."""

    text: str | None
    model: str
    fingerprint: str | None = None  # of the server's configuration (`system_fingerprint`)
    tops: tuple[dict[str, float], ...] = ()  # log-probability of the likeliest tokens at each place, where it was told


@dataclass(frozen=True)
class Endpoint:
    """Where to send chats. Make it with `open`, which checks what the user gave."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    temperature: float | None = None
    timeout: float = 120.0  # seconds per attempt
    attempts: int = 5
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

        Raises ConfigError for another kind of address, a variable `key_env` that is not set, and a missing client.
        """
        if find_spec("openai") is None:
            raise ConfigError(f"{flags[0]} needs openai, which is not installed: pip install 'mllm-avqa[endpoint]'")
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
        url = base.rstrip("/").removesuffix(_PATH) + _PATH
        return cls(url, model, key, temperature, timeout, flags=flags)

    def chat(self, system: str, user: str) -> str | None:
        """The text of `ask`."""
        return self.ask(system, user).text

    def ask(
        self, system: str, user: str | list[dict[str, Any]], seed: int | None = None, top: int = 0, before: str = ""
    ) -> Reply:
        """The answer to one message. Equal seeds ask for equal answers, different ones for another sample.

        user: text, or parts of a message (`video_url`, `text` ...). before: a message of the user's before it.
        top: likeliest tokens to be told at each place; a server that has none answers without.

        Raises ConfigError for what no retry mends (unknown model, wrong key, wrong address) and EndpointUnavailable
        when all attempts failed.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": system},
                *([{"role": "user", "content": before}] if before else []),
                {"role": "user", "content": user},
            ],
        }
        if self.temperature is not None:
            body["temperature"] = self.temperature
        if seed is not None:
            body["seed"] = seed
        if top:
            body |= {"logprobs": True, "top_logprobs": top}
        try:
            return self._tried(lambda: _reply(self._post(body), self.model))
        except EndpointRefuses as e:
            if top and e.status in (400, 422):  # it has no log-probabilities, or not for this question
                return self.ask(system, user, seed, before=before)
            raise

    def call(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer of another route of the same server. path: from its root. Raises as `ask` does."""
        url = self.url.removesuffix(_PATH).removesuffix("/v1") + path
        options: Any = {"headers": self._private}
        return self._tried(
            lambda: self._client.post(url, cast_to=object, body={"model": self.model} | body, options=options)
        )

    def models(self) -> list[str]:
        """Names of what is served. Raises as `ask` does."""
        return [m.id for m in self._tried(lambda: self._client.models.list(extra_headers=self._private)).data]

    def _tried(self, send: Callable[[], Result]) -> Result:
        import openai

        reason = ""
        for attempt in range(self.attempts):  # what was not answered is tried again by the client
            try:
                return send()
            except openai.APIStatusError as e:
                reason = f"status {e.status_code}: {e.response.text[:300].strip()}"
                if e.status_code not in RETRIED:
                    refusal = EndpointRefuses(f"{self.url} refuses: {reason} ({', '.join(self.flags)})")
                    refusal.status = e.status_code
                    raise refusal from e
                break
            except openai.APIConnectionError as e:
                reason = f"{type(e).__name__}: {e.__cause__ or e}"
                break
            except (OSError, ValueError, openai.OpenAIError) as e:  # too slow, broken off, or not the protocol
                reason = f"{type(e).__name__}: {e}"
            log.warning("%s: %s (attempt %d of %d)", self.url, reason, attempt + 1, self.attempts)
        raise EndpointUnavailable(f"{self.url} failed {self.attempts} times, last: {reason} ({self.flags[0]})")

    @cached_property
    def _client(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(
            base_url=self.url.removesuffix(_PATH),
            api_key=self.key or "none",
            timeout=self.timeout,
            max_retries=self.attempts - 1,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),  # they would carry the key away
        )

    @property
    def _private(self) -> Any:
        """What the client would find in the environment is not for whatever server this is."""
        import openai

        return dict.fromkeys(
            ["OpenAI-Organization", "OpenAI-Project"] + ["Authorization"] * (not self.key), openai.Omit()
        )

    def _post(self, body: dict[str, Any]) -> Any:
        """The answer. Raises TimeoutError when it drips in too slowly, ValueError when it is too long or no JSON."""
        parts, size = [], 0
        create = self._client.chat.completions.with_streaming_response.create
        with create(**body, extra_headers=self._private) as answer:
            deadline = time.monotonic() + self.timeout
            for part in answer.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise ValueError(f"the answer is longer than {MOST_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise TimeoutError("the answer was not complete in time")
        return json.loads(b"".join(parts))


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
    return Reply(
        text, str(answer.get("model") or asked), None if fingerprint is None else str(fingerprint), _tops(choice)
    )


def _tops(choice: dict[str, Any]) -> tuple[dict[str, float], ...]:
    """Of a server that tells none, or in another way, nothing."""
    try:
        places = (choice.get("logprobs") or {}).get("content") or []
        return tuple({str(t["token"]): float(t["logprob"]) for t in p.get("top_logprobs") or [p]} for p in places)
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()

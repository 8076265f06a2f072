"""What a request can be refused for, and the one table from typed errors to HTTP statuses."""

from __future__ import annotations

from typing import Any

from mllm_avqa.schema.errors import (
    AvqaError,
    CheckpointError,
    ConfigError,
    ContextUnavailable,
    InternalError,
    MediaError,
    MediaNotFound,
    MediaTooLarge,
    NotAFile,
    NotMedia,
    UnsupportedCodec,
    UnsupportedFormat,
)


class RequestRefused(AvqaError):
    """A request that is not carried out. retry: seconds after which it may be sent again; param: the field at fault."""

    kind = "bad_request"

    def __init__(self, message: str, *, retry: float | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.retry, self.param = retry, param


class WrongKey(RequestRefused):
    kind = "wrong_key"


class NotAllowed(RequestRefused):
    """An address or place that this server does not read from."""

    kind = "not_allowed"


class NotHeld(RequestRefused):
    """Nothing of this name belongs to this key: unknown, deleted, expired, or another's."""

    kind = "not_found"


class SlowBody(RequestRefused):
    kind = "body_timed_out"


class UnsupportedBody(RequestRefused):
    kind = "unsupported_body"


class WrongValue(RequestRefused):
    """A field of the wrong type or outside what is allowed."""

    kind = "wrong_value"


class TooManyRequests(RequestRefused):
    kind = "too_many_requests"


class Busy(RequestRefused):
    """All places are taken, or the model is still being loaded."""

    kind = "busy"


class RemoteFailed(RequestRefused):
    """The allowed host did not give the clip."""

    kind = "remote_failed"


class Withdrawn(RequestRefused):
    """The rating was deleted, or its client went away, before it was done."""

    kind = "withdrawn"


STATUS: dict[type[AvqaError], int] = {
    RequestRefused: 400,
    ConfigError: 400,
    WrongKey: 401,
    NotAllowed: 403,
    NotHeld: 404,
    MediaNotFound: 404,
    NotAFile: 404,
    SlowBody: 408,
    MediaTooLarge: 413,
    UnsupportedBody: 415,
    NotMedia: 415,
    UnsupportedFormat: 415,
    UnsupportedCodec: 415,
    MediaError: 422,
    WrongValue: 422,
    TooManyRequests: 429,
    Withdrawn: 409,
    AvqaError: 500,
    InternalError: 500,
    CheckpointError: 500,
    RemoteFailed: 502,
    Busy: 503,
    ContextUnavailable: 503,
}
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def status_of(error: AvqaError) -> int:
    """Of the closest class in the table."""
    return next(STATUS[c] for c in type(error).__mro__ if c in STATUS)


def as_json(error: AvqaError, status: int) -> dict[str, Any]:
    """The body of a refusal, in the form of the OpenAI protocol. What is wrong inside the server stays there."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    inside = status == 500
    return {
        "error": {
            "message": "something failed inside the server; its log says what" if inside else str(error),
            "type": kind,
            "param": getattr(error, "param", None),
            "code": "internal" if inside else error.kind,
        }
    }


def headers_of(error: AvqaError) -> dict[str, str]:
    retry = getattr(error, "retry", None)
    found = {} if retry is None else {"Retry-After": str(max(1, round(retry)))}
    return found | ({"WWW-Authenticate": "Bearer"} if isinstance(error, WrongKey) else {})

"""Level tokens of a model that another server runs: prompts as token ids, views as the checkpoint was taught them.

Two routes of vLLM's server, which `mllm-avqa serve` has too: `/v1/chat/completions/render` makes inputs of the model
from views, `/inference/v1/generate` takes them back with token ids, and tells log-probabilities of tokens by their id.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.io import wavfile

from mllm_avqa.model.endpoint import Endpoint, EndpointUnavailable
from mllm_avqa.model.views import Views
from mllm_avqa.schema.errors import AvqaError, MediaError

RENDER, GENERATE = "/v1/chat/completions/render", "/inference/v1/generate"
VIEWS = {"video": ("whole", "fragments"), "audio": ("sound",)}  # views of a kind of input, in the order of a prompt
_FRAMES, _SOUND = "data:video/jpeg;base64,", "data:audio/wav;base64,"  # so it calls frames of any format
MOST_PIXELS = 1 << 24  # of all frames of a view that somebody sends


class ViewsDiffer(AvqaError):
    """The server would show its model something else than it was taught with."""

    kind = "views_differ"


class Rendered(NamedTuple):
    """Inputs of one kind that a server has made of views: their names, and what they are to it alone."""

    hashes: list[str]
    data: list[Any]
    lengths: list[int]  # places of each in a prompt


@dataclass(frozen=True)
class ServedModel:
    """pads: the token that holds a place, by kind of input."""

    endpoint: Endpoint
    pads: dict[str, int]

    def render(self, views: Views, rate: int) -> dict[str, Rendered]:
        """What the server makes of views, which it must leave as they are. rate: of their sound."""
        told = self.endpoint.call(RENDER, request(views, rate))
        told = told[0] if isinstance(told, list) else told  # the messages and what is made of them
        try:
            f = told["features"] or {}
            kinds = f.get("mm_hashes", {})
            return {
                kind: Rendered(
                    list(kinds[kind]), list(f["kwargs_data"][kind]), [p["length"] for p in f["mm_placeholders"][kind]]
                )
                for kind in kinds
            }
        except (KeyError, TypeError) as e:
            raise EndpointUnavailable(f"{self.endpoint.url}: {RENDER} gave no inputs of the model ({e!r})") from e

    def levels(self, ids: Sequence[int], inputs: dict[str, Rendered], wanted: Sequence[int]) -> list[float]:
        """Log-probabilities of the wanted tokens behind a prompt. inputs: of `render`, those that it shows.

        Raises ViewsDiffer where the server makes more or fewer places of a view.
        """
        places = {kind: runs(ids, pad) for kind, pad in self.pads.items()}
        places = {kind: found for kind, found in places.items() if found}
        for kind, found in places.items():
            here, there = [n for _, n in found], inputs[kind].lengths if kind in inputs else []
            if here != there:
                raise ViewsDiffer(
                    f"{self.endpoint.url} shows its model {kind} in {there} tokens, it was taught with {here}: "
                    "another processor, or frames that are resized (--endpoint)"
                )
        body = {
            "token_ids": list(ids),
            "features": {
                "mm_hashes": {k: inputs[k].hashes for k in places},
                "mm_placeholders": {k: [{"offset": o, "length": n} for o, n in p] for k, p in places.items()},
                "kwargs_data": {k: inputs[k].data for k in places},
            },
            "sampling_params": sampling(wanted),
        }
        told = self.endpoint.call(GENERATE, body)
        try:
            place = told["choices"][0]["logprobs"]["content"][0]
            by_id = {_id(t): float(t["logprob"]) for t in place["top_logprobs"]}
            return [by_id[i] for i in wanted]
        except (KeyError, IndexError, TypeError, ValueError) as e:
            raise EndpointUnavailable(
                f"{self.endpoint.url}: {GENERATE} did not tell all of the level tokens ({e!r})"
            ) from e


def sampling(wanted: Sequence[int]) -> dict[str, Any]:
    """Of one token, with the log-probabilities of all the wanted ones."""
    return {
        "max_tokens": 1, "temperature": 0.0, "logprobs": len(wanted), "logprob_token_ids": list(wanted),
        # The token it takes counts among those told: any other would push out one of the wanted ones.
        "allowed_token_ids": list(wanted),
    }  # fmt: skip


def processing(views: Views) -> dict[str, Any]:
    """Frames are taken as they come."""
    return {"do_resize": False, "do_sample_frames": False, "fps": 2.0 / views.seconds_per_pair}


def _id(token: dict[str, Any]) -> int:
    """Versions before 0.30 wrote "token_id:5"."""
    return int(token["token_id"] if "token_id" in token else token["token"].removeprefix("token_id:"))


def runs(ids: Sequence[int], token: int) -> list[tuple[int, int]]:
    """(start, length) of each unbroken run of a token."""
    found, at = [], 0
    for same, run in groupby(ids, lambda i: i == token):
        n = len(list(run))
        if same:
            found.append((at, n))
        at += n
    return found


# ---- views on the wire, nothing lost --------------------------------------------------------------------------------


def request(views: Views, rate: int) -> dict[str, Any]:
    """A chat of the OpenAI protocol that shows the views: frames as PNG, sound as float samples."""
    content: list[dict[str, Any]] = []
    for view in VIEWS["video"]:
        frames = getattr(views, view)
        if frames is not None:
            url = _FRAMES + ",".join(base64.b64encode(_png(f)).decode() for f in frames)
            content.append({"type": "video_url", "video_url": {"url": url}})
    if views.sound is not None:
        wavfile.write(held := io.BytesIO(), rate, views.sound.astype(np.float32))
        url = _SOUND + base64.b64encode(held.getvalue()).decode()
        content.append({"type": "audio_url", "audio_url": {"url": url}})
    return {
        "messages": [{"role": "user", "content": content}],
        "mm_processor_kwargs": processing(views),
        "media_io_kwargs": {"video": {"num_frames": -1}},  # all of them
    }


def _png(frame: np.ndarray) -> bytes:
    Image.fromarray(frame).save(held := io.BytesIO(), "PNG", compress_level=1)
    return held.getvalue()


def views_of(videos: Sequence[str], audios: Sequence[str], fps: float) -> Views:
    """The views of a `request`, from its data URLs. Raises MediaError."""
    try:
        shown = [[base64.b64decode(b, validate=True) for b in v.removeprefix(_FRAMES).split(",")] for v in videos]
        frames = [_pictures(v) for v in shown]
        sounds = [wavfile.read(io.BytesIO(base64.b64decode(a.removeprefix(_SOUND), validate=True)))[1] for a in audios]
    except (ValueError, OSError) as e:
        raise MediaError(f"views are data URLs of PNG frames and of float WAV: {e}") from e
    if len(frames) not in (0, 2) or len(sounds) > 1 or fps <= 0:
        raise MediaError(f"{len(frames)} videos and {len(sounds)} sounds, allowed are two views of a video, one sound")
    if any(s.ndim != 1 or not len(s) for s in sounds):
        raise MediaError("sound has one channel and is not empty")
    whole, fragments = frames or (None, None)
    return Views(whole, fragments, sounds[0].astype(np.float32) if sounds else None, 2.0 / fps)


def _pictures(raw: Sequence[bytes]) -> np.ndarray:
    found = [Image.open(io.BytesIO(r), formats=("PNG", "JPEG")) for r in raw]
    if sum(f.width * f.height for f in found) > MOST_PIXELS:  # told by their heads, before anything is unpacked
        raise ValueError(f"more than {MOST_PIXELS} pixels")
    return np.stack([np.asarray(f.convert("RGB")) for f in found])

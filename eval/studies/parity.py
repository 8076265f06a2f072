"""Does a server score as `rate` does? Token ids, frame times and level log-probabilities, side by side."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eval.study import Language, Loading, Report, Study, argument, option
from eval.writing import table
from mllm_avqa.model.prompting import aspect_branch
from mllm_avqa.model.rows import prompt_ids, stock_aspects
from mllm_avqa.rater import Rater
from mllm_avqa.rater.served import ServedCorridor
from mllm_avqa.schema.errors import AvqaError, ConfigError

HERE, SERVER, THERE = "rate", "mllm-avqa serve", "endpoint"


@dataclass
class WayScored:
    """What somebody made of a clip. ids, levels: by aspect."""

    times: list[float]
    ids: dict[str, list[int]] = field(default_factory=dict)
    levels: dict[str, list[float]] = field(default_factory=dict)


class Parity(Study, Loading):
    """Certify that a server scores as `rate` does: vLLM with an export of `train export`, or `mllm-avqa serve`.

    The first window of each clip goes three ways: through `rate`, through a server of this project that is started for
    it, and to the endpoint. Exit code 1 where token ids differ, or times or log-probabilities by more than allowed.
    """

    command: ClassVar[str] = "parity"

    clips: tuple[Path, ...] = argument("Clips.", metavar="CLIP...")
    endpoint: str = option("", "Address of the server, http://host:8000/v1.", needed=True)
    checkpoint: str = option("nano", "The checkpoint that it serves: a folder of `train export`, or 'nano'.")
    model: str = option("", "Its name there; default: the only one.")
    key_env: str | None = option(None, "Environment variable with the key.")
    lang: Language = option("en", "Language of the questions.")
    most: float = option(1e-3, "Largest difference allowed, of log-probabilities and seconds.", gt=0)

    def run(self) -> dict[str, Any]:
        """A row for every clip, way and aspect."""
        from mllm_avqa.model.checkpoint import resolve_checkpoint

        how: dict[str, Any] = {"language": self.lang, "windows": 1}
        there = Rater.from_endpoint(
            self.endpoint, card=resolve_checkpoint(self.checkpoint), model=self.model, key_env=self.key_env, **how
        )
        here = Rater.from_pretrained(
            self.checkpoint, threads=self.threads, device=self.device, dtype=self.dtype, four_bit=self.four_bit, **how
        )
        rows: list[dict[str, Any]] = []
        failed: dict[str, str] = {}
        try:
            for path in self.clips:
                try:
                    given = {HERE: scored(here, path), SERVER: _by_server(here, path), THERE: scored(there, path)}
                    rows += self._compared(path, given)
                except AvqaError as e:
                    failed[path.name] = f"{e.kind}: {e}"
        finally:
            here.close()
            there.close()
        agree = bool(rows) and not failed and all(r["agrees"] for r in rows)
        served = there.weights.removeprefix("served-")
        return {
            "checkpoint": here.card.name, "weights": here.weights, "served": served, "endpoint": self.endpoint,
            "most": self.most, "rows": rows, "failed": failed, "agrees": agree,
        }  # fmt: skip

    def _compared(self, path: Path, given: dict[str, WayScored]) -> Iterator[dict[str, Any]]:
        told = given[HERE]
        for who in (SERVER, THERE):
            other = given[who]
            times = _far(told.times, other.times)
            for aspect in [a for a in told.levels if a in other.levels]:
                ids, far = told.ids[aspect] == other.ids[aspect], _far(told.levels[aspect], other.levels[aspect])
                yield {
                    "clip": path.name, "who": who, "aspect": aspect, "tokens": len(told.ids[aspect]), "same ids": ids,
                    "seconds": times, "log-probability": far, "agrees": ids and max(times, far) <= self.most,
                }  # fmt: skip

    def report(self, found: dict[str, Any]) -> Report:
        head = ["clip", "who", "aspect", "tokens", "same ids", "seconds", "log-probability", "agrees"]
        cells = [[f"{r[k]:.1e}" if isinstance(r[k], float) else str(r[k]) for k in head] for r in found["rows"]]
        verdict = "agrees" if found["agrees"] else "DIFFERS"
        title = (
            f"{found['served']} at {found['endpoint']} {verdict} with {found['checkpoint']} ({found['weights']}), "
            f"{found['most']:g} allowed"
        )
        data = json.dumps(found, indent=1)
        return Report(f"{title}\n\n{table(head, cells)}", data, failed=found["failed"], partial=not found["agrees"])


def scored(rater: Rater, path: Path) -> WayScored:
    """By a rater, here or of an endpoint."""
    window = next(iter(rater.windows(str(path))))
    found = WayScored(list(window.views.notes.get("frame_times", [])))  # type: ignore[call-overload]
    language, corridor, card = rater.language, rater.corridor, rater.card
    encoded = rater.scorer.encode(window)
    aspects = [a for a in encoded.aspects if a in stock_aspects(card.aspects, card.isolate)]
    if isinstance(corridor, ServedCorridor):
        for a in aspects:
            found.ids[a], found.levels[a] = corridor.asked(encoded, a, language)
        return found
    _, clip = corridor.hold(encoded, language)
    for a in encoded.aspects:
        branch = corridor.backbone.encode_branch(aspect_branch(a, language))
        found.ids[a] = prompt_ids(encoded.segments, branch, card.isolate)
        asked = [aspect_branch(a, language, level=w) for w in card.level_words]
        found.levels[a] = [told[0] for told in corridor.likelihoods(clip, asked)]
    return found


def _by_server(rater: Rater, path: Path) -> WayScored:
    """By a server of this project that has the same model: it is sent the file, and asked as anybody would."""
    try:
        from fastapi.testclient import TestClient

        from mllm_avqa.serving.app import make_app
    except ImportError as e:
        raise ConfigError(f"parity needs a server of its own: pip install 'mllm-avqa[serve]' ({e})") from e
    url = f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"
    app = make_app(lambda: rater, language=rater.language, most_bytes=1 << 30)
    with TestClient(app) as client:
        while client.get("/readyz").status_code == 503:
            pass
        told = client.post("/v1/ratings?explain=false", json={"clip": url}).json()
        found = WayScored(list(told["inputs"]["windows"][0].get("frame_times", [])))
        words = rater.card.level_words
        for aspect in [a for a, s in told["scores"].items() if s is not None]:
            question = {"type": "text", "text": aspect_branch(aspect, rater.language).question}
            content = [{"type": "video_url", "video_url": {"url": url}}, question]
            body = {"model": rater.card.name, "messages": [{"role": "user", "content": content}],
                    "lang": rater.language, "logprobs": True, "top_logprobs": 5, "return_token_ids": True}  # fmt: skip
            answer = client.post("/v1/chat/completions", json=body).json()
            place = answer["choices"][0]["logprobs"]["content"][0]
            by_word = {t["token"].strip(): t["logprob"] for t in place["top_logprobs"]}
            found.ids[aspect] = answer["prompt_token_ids"]
            found.levels[aspect] = [by_word[w] for w in words]
    return found


def _far(a: list[float], b: list[float]) -> float:
    return float(np.abs(np.subtract(a, b)).max(initial=0.0)) if len(a) == len(b) else float("inf")

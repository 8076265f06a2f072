"""A language model as judge: a text and what is known go out, 0, 1 or 2 points come back, in several rounds.

Q-Bench A2 (arXiv 2309.14181) has 0, 1 or 2 points for completeness, preciseness and relevance, a mean over several
replies; Q-Bench-Video (arXiv 2409.20063) the same points for the whole answer. Words: prompts/judge.<lang>.yaml.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.store import Json, Log, digest
from eval.study import Rated, option
from mllm_avqa.model.endpoint import Endpoint, Reply, each
from mllm_avqa.model.prompting import load_prompts
from mllm_avqa.schema.errors import ConfigError

log = logging.getLogger(__name__)
FLAGS = ("--judge", "--judge-model", "--judge-key-env")
FREE = ("relevance",)  # rubrics that need neither a reference nor facts
THOUGHT = re.compile(r"<(think|thinking|reasoning|thought)>.*?</\1>", re.IGNORECASE | re.DOTALL)
FENCE = re.compile(r"```[a-z]*\s*(.*?)\s*```", re.IGNORECASE | re.DOTALL)
NUMBER = r"([-+]?\d+(?:\.\d+)?)"
MARKS = r"[\s*_`]*"
NAMED = rf"score{MARKS}[:：=]{MARKS}"
SCORE = re.compile(rf"{MARKS}(?:{NAMED})?{NUMBER}[\s*_`.。]*", re.IGNORECASE)
LINE = re.compile(rf"[\s*_`#>-]*(?:final\s+)?{NAMED}{NUMBER}[\s*_`.。]*", re.IGNORECASE)
READ, UNREAD, FAILED = "answered", "unread", "failed"  # only the first is kept by a further run


@dataclass(frozen=True)
class Prompt:
    """One text to judge by one rubric. id: "<text>/<rubric>"."""

    id: str
    rubric: str
    system: str
    user: str


@dataclass(frozen=True)
class Panel:
    """Who judges and how often."""

    endpoint: Endpoint
    rounds: int = 5
    jobs: int = 4
    fresh: bool = False


class WithJudge(Rated):
    """A study that can ask a judge."""

    judge: str | None = option(
        None, "Base URL of an OpenAI-compatible server, e.g. http://host:8000/v1.", place="command"
    )
    judge_model: str | None = option(None, "Name of the judging model there.", place="command")
    judge_key_env: str | None = option(None, "Environment variable that holds the judge's API key.", place="command")
    rounds: int = option(5, "Judgements of every text and rubric, averaged.", ge=1, place="command")
    judge_temperature: float | None = option(
        None, "Of the judge; the server's default if absent.", ge=0, place="command"
    )
    judge_timeout: float = option(120.0, "Seconds to wait for one judgement.", ge=0.1, place="command")
    jobs: int = option(4, "Requests to the judge under way at the same time.", ge=1, place="command")
    fresh: bool = option(False, "Start the logs anew.", place="command")
    _panel: Panel | None = None

    def panel(self) -> Panel | None:
        """The judge that the flags name, None without --judge. Raises ConfigError for half of it or for no address."""
        if self._panel is not None:
            return self._panel
        if self.judge is None:
            if self.judge_model is not None:
                raise ConfigError(
                    f"--judge-model {self.judge_model} without an address: add --judge http://host:port/v1"
                )
            return None
        if not self.judge_model:
            raise ConfigError(f"--judge {self.judge} needs the name of the model there: add --judge-model NAME")
        endpoint = Endpoint.open(
            self.judge, self.judge_model, self.judge_key_env, self.judge_temperature, self.judge_timeout, FLAGS
        )
        return Panel(endpoint, self.rounds, self.jobs, self.fresh)


def prompt(
    name: str,
    group: str,
    rubric: str,
    language: str,
    *,
    text: str,
    reference: str | None = None,
    question: str | None = None,
    facts: str | None = None,
) -> Prompt:
    """What a judge reads. group: "bench" or "describe" of the prompts.

    The text was written by a stranger (a model under test): it is fenced, and cannot close its own fence.
    """
    words = load_prompts("judge", language)
    fenced = re.sub(r"<<<+|>>>+", lambda m: m[0][0], text)
    parts = [words["head"].replace("{rubric}", words[group][rubric])]
    given = {"question": question, "facts": facts, "reference": reference}
    parts += [words[k].replace(f"{{{k}}}", v) for k, v in given.items() if v]
    parts.append(words["text"].replace("{text}", fenced))
    return Prompt(f"{name}/{rubric}", rubric, words["system"], "".join(parts))


@dataclass(frozen=True)
class Judgement:
    """Points of a reply, or why there are none."""

    score: int | None
    why: str = ""


def read_score(reply: str) -> Judgement:
    """0, 1 or 2 points. Read are "Score: 2" or "2" alone, {"score": 2} also in a fence, and lines "Score: 2" in a text
    that all say the same; what a model thinks in a <think> block is not its reply. Nothing else is: no guess.
    """
    said = THOUGHT.sub("", reply).strip()
    if re.match(r"<(?:think|thinking|reasoning|thought)>", said, re.IGNORECASE):
        return Judgement(None, "cut off while thinking")
    # Some servers keep the opening tag of a thought to themselves.
    said = re.split(r"</(?:think|thinking|reasoning|thought)>", said, flags=re.IGNORECASE)[-1].strip()
    if not said:
        return Judgement(None, "empty, cut off or filtered")
    fenced = FENCE.findall(said)
    said = fenced[0] if len(fenced) == 1 else said
    whole = SCORE.fullmatch(said)
    found = {whole[1]} if whole else _in_json(said) or {m[1] for m in map(LINE.fullmatch, said.splitlines()) if m}
    if len(found) != 1:
        return Judgement(None, "several scores" if found else "no score")
    points = float(found.pop())
    return Judgement(int(points)) if points in (0, 1, 2) else Judgement(None, f"a score of {points:g}, not 0, 1 or 2")


def _in_json(said: str) -> set[str]:
    """The score of an object, as text; empty when it is none."""
    try:
        data = json.loads(said)
    except ValueError:
        return set()
    if not isinstance(data, dict):
        return set()
    given = {str(v) for k, v in data.items() if k.lower() == "score"}
    return given if all(re.fullmatch(NUMBER, v) for v in given) else set()


def ask(prompts: Sequence[Prompt], panel: Panel, path: Path) -> list[Json]:
    """A row per prompt and round, in that order, from the log at `path` or asked now; the log is written as they come.

    status: "answered" with its score; "unread" (the reply holds no score) and "failed" (no reply after all attempts,
    or given up before) with the reason: both are asked again by the next call. Raises ConfigError when the server
    refuses the request as such, OutputError for a log that cannot be used.
    """
    server = panel.endpoint
    keys = {
        (p, k): digest(server.model, server.temperature, p.system, p.user, k)
        for p in prompts
        for k in range(panel.rounds)
    }
    asked = {key: pk for pk, key in keys.items()}  # equal prompts (one text twice) share their judgements

    def send(key: str) -> Reply:
        p, round_ = asked[key]
        return server.ask(p.system, p.user, seed=round_)

    path.parent.mkdir(parents=True, exist_ok=True)
    with Log(path, "judge-1", fresh=panel.fresh) as file:
        todo = [k for k in asked if not file.has(k)]
        if len(todo) < len(asked):
            log.info("%d of %d judgements are in %s already", len(asked) - len(todo), len(asked), path.name)
        for n, (key, found) in enumerate(each(todo, send, panel.jobs), 1):
            p, round_ = asked[key]
            file.add(key, {"id": p.id, "rubric": p.rubric, "round": round_} | _row(found))
            if n % 100 == 0:
                log.info("%d of %d judgements", n, len(todo))
        file.tidy(k for k in asked if k in file.rows)
        done = dict(file.rows)
    given_up = {"status": FAILED, "why": "not sent: given up after several without an answer"}
    heads = ({"id": p.id, "rubric": p.rubric, "round": k} for p, k in keys)
    return [done.get(key, given_up) | head for key, head in zip(keys.values(), heads, strict=True)]


def _row(found: Reply | Exception) -> Json:
    if isinstance(found, Exception):
        return {"status": FAILED, "why": str(found)}
    said = found.text or ""
    read = read_score(said)
    row: Json = {"reply": said, "model": found.model, "fingerprint": found.fingerprint}
    if read.score is None:
        return row | {"status": UNREAD, "why": read.why}
    return row | {"status": READ, "score": read.score}


def points(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Mean score of 0-2 over the rounds that were read, by prompt id; an id without any is left out."""
    found: dict[str, list[int]] = {}
    for r in rows:
        if r["status"] == READ:
            found.setdefault(r["id"], []).append(r["score"])
    return {k: fmean(v) for k, v in found.items()}


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int | float | None]:
    """Replies by status, and the share of prompts on which all rounds agree (of those with two or more read)."""
    by_id: dict[str, list[int]] = {}
    for r in rows:
        if r["status"] == READ:
            by_id.setdefault(r["id"], []).append(r["score"])
    several = [v for v in by_id.values() if len(v) > 1]
    status = Counter(r["status"] for r in rows)
    return {
        "read": status[READ],
        "unread": status[UNREAD],
        "failed": status[FAILED],
        "rounds_agree": round(sum(len(set(v)) == 1 for v in several) / len(several), 4) if several else None,
    }


def identity(rows: Sequence[Mapping[str, Any]], panel: Panel, language: str) -> dict[str, Any]:
    """Which judge gave these points: the model that was asked for, what the server says answered, and the prompts."""
    return {
        "model": panel.endpoint.model,
        "answered_by": sorted({r["model"] for r in rows if r.get("model")}),
        "fingerprints": sorted({r["fingerprint"] for r in rows if r.get("fingerprint")}),
        "temperature": panel.endpoint.temperature,
        "rounds": panel.rounds,
        "prompts": digest(dict(load_prompts("judge", language))),
        "prompts_version": load_prompts("judge", language)["version"],
    }

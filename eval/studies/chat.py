"""Questions of people on clips: how many a checkpoint answers rightly, refuses, or gets wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from eval.chatting import Outcome, bank, outcome
from eval.store import Json
from eval.study import LANG, Language, Rated, Report, argument, option
from eval.writing import table
from mllm_avqa.rater import ChatSession, Rater

Half = Literal["unseen", "seen", "independent", "fresh", "both"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Chat(Rated):
    """Ask a checkpoint the questions of prompts/chat_bank.*.yaml about clips; right answers come from its ratings."""

    command: ClassVar[str] = "chat"

    media: tuple[Path, ...] = argument("Clips to talk about.", metavar="FILE...")
    half: Half = option(
        "unseen",
        "unseen: failures not looked at; seen; both; independent: by other hands, mended since; fresh: not since.",
    )
    lang: tuple[Language, ...] = option((), LANG, place="command")
    wrong: bool = option(
        False, "Also list the answers that are wrong, but those to unseen and fresh questions.", place="command"
    )

    def run(self) -> Json:
        """Outcomes by language and half. Raises MediaError, CheckpointError."""
        rows: list[Json] = []
        with self.opened() as rater:
            for path in self.media:
                session = rater.chat(path)
                for language in [*self.lang] or rater.card.languages:
                    for half in ("unseen", "seen") if self.half == "both" else (self.half,):
                        rows += list(_asked(rater, session, language, half, path.name))
        return {"rows": rows, "table": _counted(rows)}

    def report(self, found: Json) -> Report:
        head = ["half", "language", "questions", *OUTCOMES, "right or refused"]
        told = table(head, [[str(r[k]) for k in head] for r in found["table"]])
        if self.wrong:
            bad = [
                r
                for r in found["rows"]
                if r["outcome"] in ("wrong", "refused") and r["half"] not in ("unseen", "fresh")
            ]
            told += "".join(f"\n{r['clip']}: {r['outcome']}: {r['ask']} -> [{r['topic']}] {r['answer']}" for r in bad)
        return Report(told, json.dumps(found, ensure_ascii=False, indent=1))


def _asked(rater: Rater, session: ChatSession, language: str, half: str, clip: str) -> Iterator[Json]:
    """Every question of a half, each in a talk of its own."""
    for item in bank(language, half):
        talk = ChatSession(session.rating, session.clip, rater.card.languages, session.free_text)
        for before in item.after:
            talk.ask(before)
        given = talk.answer(item.ask)
        how = outcome(item, session.rating, language, given.text, given.refused)
        yield {
            "clip": clip, "half": half, "language": language, "ask": item.ask, "want": item.want,
            "topic": given.topic, "answer": given.text, "outcome": how,
        }  # fmt: skip


def _counted(rows: list[Json]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for half, language in dict.fromkeys((r["half"], r["language"]) for r in rows):
        own = Counter(r["outcome"] for r in rows if (r["half"], r["language"]) == (half, language))
        n = sum(own.values())
        told = {"half": half, "language": language, "questions": n} | {o: own[o] for o in OUTCOMES}
        out.append(told | {"right or refused": round(1 - own["wrong"] / n, 3)})
    return out

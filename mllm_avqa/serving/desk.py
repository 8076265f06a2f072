"""The desk where the model works: one thread, requests in order, those of one kind scored together."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from mllm_avqa.rater import ChatSession, Rater
from mllm_avqa.schema.errors import typed
from mllm_avqa.schema.rating import Rating, RatingFailure
from mllm_avqa.serving.refusals import Busy, NotHeld, Withdrawn
from mllm_avqa.whole import Overview
from mllm_avqa.windows import Prepared

log = logging.getLogger(__name__)
T = TypeVar("T")
_RUN = 16  # clips of one kind before others get their turn
_LINGER = 0.01  # seconds that an idle desk waits for clips that come at the same time


class WatchedRater(Rater):
    """A rater that tells how far it has read a file, and stops where nobody waits for it any more."""

    watch: Callable[[str, float], None] = staticmethod(lambda path, done: None)

    def look_over(self, path: str, *given: Any, **named: Any) -> Overview:
        self.watch(path, 0.0)
        return super().look_over(path, *given, **named)

    def windows(self, path: str, *given: Any, **named: Any) -> Iterator[Prepared]:
        for window in super().windows(path, *given, **named):
            self.watch(path, min(1.0, window.end / window.info.duration) if window.info.duration > 0 else 1.0)
            yield window


def in_language(rater: Rater, language: str) -> WatchedRater:
    """The same model in another language: nothing is loaded again."""
    return WatchedRater(
        rater.backbone, rater.card, rater.weights,
        reader=rater.reader.reader, limits=rater.reader.limits, context=rater.context, asr=rater.asr,
        language=language, without=rater.scorer.without, free_text=rater.scorer.free_text,
        full_pass=rater.scorer.full_pass,
    )  # fmt: skip


@dataclass
class Wanted:
    """A clip that waits to be rated. tell: how far it has been read; dropped: nobody waits for it."""

    path: Path
    language: str
    explain: bool
    text: str | None
    tell: Callable[[float], None]
    holder: str | None = None  # whose chats the clip is kept encoded for
    future: Future[Rating] = field(default_factory=Future)
    dropped: bool = False

    @property
    def kind(self) -> tuple[object, ...]:
        """What clips must share to be scored together; those that are held are scored one by one."""
        return self.language, self.explain, self.holder


@dataclass
class Desk:
    """load: opens the rater, in the desk's own thread; batch: clips per forward; held: clips kept encoded for chat."""

    load: Callable[[], Rater]
    batch: int = 4
    held: int = 8
    seen: Callable[[int], None] = lambda clips: None  # told how many clips were scored in one run
    raters: dict[str, WatchedRater] = field(default_factory=dict)  # by language, once it is loaded
    error: Exception | None = None  # why it could not be loaded
    pace: float = 1.0  # seconds that a clip takes, of late

    def __post_init__(self) -> None:
        self._line: deque[Wanted | tuple[Future[Any], Callable[[], Any]]] = deque()
        self._news = threading.Condition()
        self._sessions: OrderedDict[tuple[str, ...], ChatSession] = OrderedDict()
        self._reading: dict[str, list[Wanted]] = {}  # by path: one file may be asked for twice
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="desk", daemon=True)

    def start(self, loaded: Callable[[], None]) -> None:
        """Load and work. loaded: called in the thread when it is ready, or has failed (`error`)."""
        self._loaded = loaded
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Finish what waits, for so long at most, and let go of the raters."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        for rater in self.raters.values():
            rater.close()

    @property
    def rater(self) -> WatchedRater:
        """Any of the raters; what they share is the same. Raises Busy while it is being loaded."""
        if not self.raters:
            raise Busy("the model is still being loaded", retry=2)
        return next(iter(self.raters.values()))

    @property
    def alive(self) -> bool:
        """Whether somebody works here, or will."""
        return self._thread.ident is None or self._thread.is_alive()

    @property
    def waiting(self) -> int:
        return len(self._line)

    # ---- asked from other threads -----------------------------------------------------------------------------------

    def rate(self, wanted: Wanted) -> Future[Rating]:
        self._put(wanted)
        return wanted.future

    def call(self, work: Callable[[], T]) -> Future[T]:
        """`work` in the desk's thread, in its turn."""
        future: Future[T] = Future()
        self._put((future, work))
        return future

    def _put(self, item: Wanted | tuple[Future[Any], Callable[[], Any]]) -> None:
        with self._news:
            if self._closed:
                raise Busy("the server is about to stop", retry=10)
            self._line.append(item)
            self._news.notify_all()

    # ---- in the desk's thread ---------------------------------------------------------------------------------------

    def session(self, key: tuple[str, ...], path: Path | None, language: str) -> tuple[ChatSession, bool]:
        """A clip held for questions, and whether it already was. Call it in the desk's thread.

        path: None where the caller has only its key. Raises NotHeld for such a one that is not held any more.
        """
        if found := self._sessions.get(key):
            self._sessions.move_to_end(key)
            return found, True
        if path is None:
            raise NotHeld("this clip is not held any more: send it again")
        return self._hold(key, self.raters[language].chat(path)), False

    def forget(self, key: tuple[str, ...]) -> None:
        """Let a held clip go. Call it in the desk's thread."""
        self._sessions.pop(key, None)

    def key(self, owner: str, digest: str, language: str) -> tuple[str, ...]:
        """What a held clip is found by: its owner, its content, and how it was looked at."""
        return (owner, digest, language, *self.raters[language].fingerprint.values())

    def _hold(self, key: tuple[str, ...], session: ChatSession) -> ChatSession:
        self._sessions[key] = session
        self._sessions.move_to_end(key)
        while len(self._sessions) > self.held:
            self._sessions.popitem(last=False)
        return session

    def _work(self) -> None:
        try:
            first = self.load()
            others = [n for n in first.card.languages if n != first.language]
            raters = {n: in_language(first, n) for n in (first.language, *others)}
            for rater in raters.values():
                rater.watch = self._watch
            self.raters = raters
        except Exception as e:
            self.error = e
        self._loaded()
        while self.error is None and (item := self._take(None)) is not None:
            if isinstance(item, Wanted) and item.holder is None:
                self._rate(item)
            elif isinstance(item, Wanted):
                self._rate_held(item)
            else:
                future, work = item
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(work())
                    except Exception as e:
                        log.debug("a question failed", exc_info=e)
                        future.set_exception(typed(e))

    def _take(self, seconds: float | None) -> Wanted | tuple[Future[Any], Callable[[], Any]] | None:
        """The next in line; None when there is none after so many seconds, or, without them, when the desk closes."""
        with self._news:
            self._news.wait_for(lambda: self._line or self._closed, seconds)
            return self._line.popleft() if self._line else None

    def _rate(self, first: Wanted) -> None:
        """Rate a clip, and those of its kind that stand right behind it, in one go."""
        taken: list[Wanted] = []
        texts: list[str | None] = []
        begin = time.monotonic()

        def feed() -> Iterator[Path]:
            item: Wanted | None = first
            while item is not None:
                if item.future.set_running_or_notify_cancel():
                    taken.append(item)
                    texts.append(item.text)
                    self._reading.setdefault(str(item.path), []).append(item)
                    yield item.path
                item = self._alike(first.kind) if len(taken) < _RUN else None

        try:
            rater = self.raters[first.language]
            results = rater.rate_many(feed(), batch_size=self.batch, explain=first.explain, user_texts=texts)
            for result, wanted in zip(results, taken, strict=False):  # `taken` grows as results are asked for
                _settle(wanted, result)
        except Exception as e:
            log.exception("a run of clips failed")
            for wanted in taken:
                _settle(wanted, RatingFailure(str(wanted.path), typed(e)))
        for wanted in taken:
            self._reading.pop(str(wanted.path), None)
            _settle(wanted, RatingFailure(str(wanted.path), Withdrawn("the rating was withdrawn")))
        if taken:
            self.seen(len(taken))
            self.pace += 0.2 * ((time.monotonic() - begin) / len(taken) - self.pace)

    def _rate_held(self, wanted: Wanted) -> None:
        """Rate one clip and keep it encoded."""
        if not wanted.future.set_running_or_notify_cancel():
            return
        self._reading.setdefault(str(wanted.path), []).append(wanted)
        rater = self.raters[wanted.language]
        try:
            session = rater.chat(wanted.path, user_text=wanted.text)
            rating = session.rating.model_copy()
            if wanted.explain and any(rating.scores.values()):
                rater.explain(rating, session.clip)
            self._hold(self.key(str(wanted.holder), rating.content_hash, wanted.language), session)
            self.seen(1)
            wanted.future.set_result(rating)
        except Exception as e:
            wanted.future.set_exception(typed(e))
        finally:
            self._reading.pop(str(wanted.path), None)

    def _alike(self, kind: tuple[object, ...]) -> Wanted | None:
        """The next in line if it is of this kind: nobody is overtaken."""
        with self._news:
            self._news.wait_for(lambda: self._line or self._closed, _LINGER)
            if self._line and isinstance(self._line[0], Wanted) and self._line[0].kind == kind:
                return cast(Wanted, self._line.popleft())
            return None

    def _watch(self, path: str, done: float) -> None:
        asking = self._reading.get(path, [])
        if asking and all(w.dropped for w in asking):
            raise Withdrawn("the rating was withdrawn")
        for wanted in asking:
            wanted.tell(done)


def _settle(wanted: Wanted, result: Rating | RatingFailure) -> None:
    """Give a result to who waits for it; only the first counts."""
    if wanted.future.done():
        return
    if isinstance(result, RatingFailure):
        wanted.future.set_exception(result.error)
    else:
        wanted.future.set_result(result)

"""Ctrl-C and SIGTERM: a batch ends after the row in work, any command within seconds, whatever it is doing."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 3.0  # seconds between a signal and the end of the process


class Stop(threading.Event):
    """Set by a signal; `signum` says which."""

    signum = 0


class Stopped(BaseException):
    """A signal ends what runs in the main thread. No KeyboardInterrupt: others would answer that in their own way."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Set on the first Ctrl-C or SIGTERM; a second one raises `Stopped`. Only the main thread gets them."""
    stop = Stop()

    def on_signal(signum: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise Stopped(signum)
        stop.signum = signum
        stop.set()

    with _handlers(on_signal):
        yield stop


@contextmanager
def ends_on_signal() -> Iterator[None]:
    """The first Ctrl-C or SIGTERM raises `Stopped`, unless something inside handles it in its own way.

    Either way the process is gone `PATIENCE` seconds later: what hangs in a library or on a dead disk cannot hold it.
    Rows are handed to the operating system one by one and guarded processes follow their parent, so nothing is lost.
    """

    def on_signal(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    read, write = os.pipe()
    os.set_blocking(write, False)
    armed = threading.Event()
    threading.Thread(target=_watch, args=(read, armed), daemon=True).start()
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # written to even while the main thread hangs
    try:
        with _handlers(on_signal):
            yield
    finally:
        if not armed.is_set():  # else threads and processes that are still at work must not hold the exit
            signal.set_wakeup_fd(before)
            os.close(write)


def _watch(read: int, armed: threading.Event) -> None:
    while number := os.read(read, 1):
        if number[0] in SIGNALS:
            armed.set()
            time.sleep(PATIENCE)
            os.write(2, b"stopped\n")
            os._exit(128 + number[0])
    os.close(read)


@contextmanager
def _handlers(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {s: signal.signal(s, handler) for s in SIGNALS}
    try:
        yield
    finally:
        for s, former in old.items():
            signal.signal(s, former)

"""Habits of every worker process of this project: one computing thread, and never outliving the parent."""

from __future__ import annotations

import multiprocessing
import os
import threading


def follow_parent() -> None:
    """End this worker when its parent ends, however that died. Call once, in the worker's initialiser."""
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def one_thread() -> None:
    """Initialiser of a pool whose workers share the cores: OpenCV computes in one thread, the parent is followed."""
    import cv2

    cv2.setNumThreads(1)
    follow_parent()

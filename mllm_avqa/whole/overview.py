"""The first look at a file: its facts, and the pass over all of it unless that is not wanted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mllm_avqa.media.scan import scan_of
from mllm_avqa.schema.clip import Clip, MediaInfo
from mllm_avqa.schema.errors import MediaError
from mllm_avqa.schema.whole import Whole
from mllm_avqa.whole.facts import whole_of

if TYPE_CHECKING:
    from mllm_avqa.media import MediaReader

UNSEEN = 0.25  # seconds at the end of a file that no window has to reach
Passed = Literal["done", "partly", "failed", "off", "needless", "span"]


@dataclass
class Overview:
    """What is known of a file before its windows are chosen."""

    info: MediaInfo
    whole: Whole | None = None
    passed: Passed = "off"
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    span: tuple[float, float | None] = (0.0, None)  # of it that is rated
    at_once: bool = False  # the first window holds all of the file: it is the pass

    @property
    def rated(self) -> float:
        """Seconds that are rated."""
        start, end = self.span
        return max(0.0, (self.info.duration if end is None else min(end, self.info.duration)) - start)

    def take(self, clip: Clip) -> None:
        """The facts of a file from the window that holds all of it."""
        self.whole, self.passed = whole_of(scan_of(clip), self.info), "done"


def look_over(
    path: str,
    reader: MediaReader,
    full_pass: bool = True,
    span: tuple[float, float | None] | None = None,
    window: float = 0.0,
) -> Overview:
    """Probe a file and pass over all of it. A pass that fails is a warning: windows may still be read.

    span: seconds of it that are rated alone; None: all of it. With a span there is no pass.
    window: seconds of the first window; a file that it holds whole is decoded once, for that window.
    Raises MediaError subclasses for a file that can not be rated.
    """
    begin = time.perf_counter()
    info = reader.probe(path)
    seen = Overview(info)
    if span is not None:
        seen.passed, seen.span = "span", span
        return seen
    if not full_pass:
        return seen
    if info.duration <= 0 or (info.video is not None and info.video.still):
        seen.passed = "needless"
        return seen
    if window and info.duration < window + UNSEEN and (info.audio is None or info.audio.channels <= 2):
        seen.at_once, seen.passed = True, "failed"  # until the window is there
        return seen
    try:
        scan = reader.scan(path)
    except MediaError as error:
        seen.passed = "failed"
        seen.warnings = [f"the pass over the whole file failed: {error}"]
    else:
        seen.whole = whole_of(scan, info)
        seen.passed = "done" if scan.complete else "partly"
        if not scan.complete:
            read = f"{scan.until:.0f} of {info.duration:.0f} s"
            seen.warnings = [f"the pass over the whole file ended after {read} (--max-pass-seconds)"]
    seen.seconds = time.perf_counter() - begin
    return seen

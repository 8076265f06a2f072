"""Embedded subtitle streams as plain cues."""

from __future__ import annotations

import logging
from fractions import Fraction

from mllm_avqa.media.facts import read_facts
from mllm_avqa.media.opening import open_media, show
from mllm_avqa.media.packets import decode, read_packets
from mllm_avqa.schema.clip import Limits
from mllm_avqa.schema.cues import Cue, plain_text
from mllm_avqa.schema.errors import MediaError

_log = logging.getLogger(__name__)


def read_cues(path: str, limits: Limits) -> list[Cue]:
    """Cues of all text subtitle streams of `path`, sorted by start; times share the clock of the frames.

    Streams of pictures (DVD, Blu-ray) carry no text and give nothing. A file without subtitles gives an empty list.

    Raises:
        MediaError: the file cannot be opened.
    """
    from av.subtitles.subtitle import AssSubtitle

    with open_media(path, limits) as container:
        # Indices, because a stream must not be touched once its container is closed.
        indices = [s.index for s in container.streams.subtitles if s.codec_context is not None]
        if not indices:
            return []
    try:
        origin = read_facts(path, limits).origin
    except MediaError as error:  # subtitles are readable even where sound and picture are not
        _log.debug("subtitle times of %s start at the container's zero: %s", show(path), error)
        origin = Fraction(0)
    cues = []
    with open_media(path, limits) as container:
        chosen = [container.streams[index] for index in indices]
        for packet in read_packets(container, chosen):
            if packet.pts is None:
                continue
            start = packet.pts * packet.time_base - origin
            end = start + max(0, packet.duration or 0) * packet.time_base
            for item in decode(packet, lambda: None):
                text = plain_text(item.ass.decode("utf-8", "replace")) if isinstance(item, AssSubtitle) else ""
                if text:
                    language = packet.stream.language
                    cues.append(Cue(float(start), float(end), text, packet.stream.index, language or None))
    return sorted(cues, key=lambda cue: (cue.start, cue.stream))

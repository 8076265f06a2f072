"""Small pictures of the frames a rating was made from, for the HTML report."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Protocol

from mllm_avqa.report.html import Thumbnail
from mllm_avqa.schema.clip import Clip, DecodeSpec
from mllm_avqa.schema.errors import MediaError
from mllm_avqa.schema.rating import Rating

if TYPE_CHECKING:
    from mllm_avqa.schema.card import ViewSpec

log = logging.getLogger(__name__)
_MOST = 12  # pictures in a report
_SIDE = 320  # px, longer side


class ClipReader(Protocol):
    """The part of the media room needed here."""

    def read_clip(self, path: str, spec: DecodeSpec) -> Clip: ...


def thumbnails(rating: Rating, reader: ClipReader, views: ViewSpec) -> list[Thumbnail]:
    """One frame per segment of each window, spread over the windows, as JPEG.

    Decoded again with the spec the rating used, so they are the frames the model saw. Empty for a clip without a
    picture, and (with a warning in the log) for one that can not be read any more.
    """
    from PIL import Image

    if rating.media.video is None:
        return []
    each = max(1, _MOST // max(1, len(rating.windows)))
    found: list[Thumbnail] = []
    for window in rating.windows[:_MOST]:
        spec = views.decode(window.start).model_copy(update={"audio": False})
        try:
            track = reader.read_clip(rating.path, spec).video
        except MediaError as e:
            log.warning("no pictures of %s in the report: %s", rating.path, e)
            return []
        if track is None:
            continue
        first_of_segment = range(0, len(track.frames), views.frames_per_segment)
        for i in list(first_of_segment)[:each]:
            picture = Image.fromarray(track.frames[i])
            picture.thumbnail((_SIDE, _SIDE))
            out = io.BytesIO()
            picture.save(out, "JPEG", quality=82)
            found.append(Thumbnail(float(track.pts[i]), out.getvalue()))
    return found

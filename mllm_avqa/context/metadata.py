"""Container tags that say something about the content."""

from __future__ import annotations

import re

from mllm_avqa.context.clean import clean_text
from mllm_avqa.schema.text import TextItem

# Tag names as FFmpeg spells them for mov/mp4, Matroska, ID3, Vorbis comments and RIFF, in order of usefulness.
USEFUL_KEYS = (
    "title", "description", "synopsis", "comment", "subtitle", "show", "episode_id", "artist", "album_artist",
    "author", "album", "composer", "performer", "genre", "keywords", "location", "location-eng", "date", "copyright",
    "publisher", "network", "lyrics",
)  # fmt: skip
_ALIASES = {"xxx": "", "eng": "", "und": ""}
# Comments that tools write by themselves; they describe the tool, not the clip.
_NOISE = re.compile(
    r"^(lavf|lavc|libx26|x26[45]|handbrake|isom|vlc|gpac|mp4box|l-smash|google$|created with|encoded (by|with|using)"
    r"|vid:v\w+$|https?://www\.videolan\.org/x264|processed by|ffmpeg|core media|video ?handler|sound ?handler)",
    re.IGNORECASE,
)


def metadata_items(metadata: dict[str, str]) -> list[TextItem]:
    """Useful container tags as items, the key in `detail`; encoder noise, brands and doubled values are left out."""
    by_key: dict[str, str] = {}
    for key, value in metadata.items():
        name = key.strip().lower().replace(" ", "_")
        base, _, language = name.rpartition("-")
        if base and (language in _ALIASES or len(language) == 3) and base in USEFUL_KEYS:
            name = base  # Matroska and mov repeat a tag as "title-eng"
        by_key.setdefault(name, clean_text(value))
    items: list[TextItem] = []
    seen: set[str] = set()
    for key in USEFUL_KEYS:
        text = by_key.get(key, "")
        if text and not _NOISE.match(text) and text.casefold() not in seen:
            seen.add(text.casefold())
            items.append(TextItem(origin="metadata", text=text, detail=key))
    return items

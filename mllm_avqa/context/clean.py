"""Strangers' text made safe to store and short enough to read. What it says is never changed or judged here."""

from __future__ import annotations

import re
import unicodedata

from mllm_avqa.schema.text import Origin, TextItem

ITEM_CHARS = 500  # longest text of one item
TOTAL_CHARS = 4000  # longest text of one context
# Who keeps its text when not everything fits: the user's words first, machine readings after human ones.
PRIORITY: tuple[Origin, ...] = ("user", "subtitle", "sidecar", "asr", "ocr", "metadata")

_JOINERS = "\u200c\u200d"  # needed by Persian and by emoji sequences, unlike the other invisible format characters
# Players' markup of SubRip and WebVTT by name, so that other angle brackets ("<|im_end|>", "a < b") stay as they are.
_TAG = re.compile(r"</?(?:b|i|u|s|c|v|font|lang|ruby|rt|span)(?:[ .\t][^<>]*)?/?>|<\d[\d:.]*>", re.IGNORECASE)
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")  # {\an8}, {\i1} of ASS, also seen in SubRip files


def clean_text(text: str) -> str:
    """Text without control, surrogate and invisible format characters, whitespace folded to single spaces, NFC.

    Bidirectional overrides, zero-width spaces and Unicode tag characters go too: they show a reader another text
    than the model gets. Everything visible stays, markup of chat templates included.
    """
    kept = []
    for char in text[: 20 * ITEM_CHARS]:  # whoever sends megabytes pays no more than this
        category = unicodedata.category(char)
        if category in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        elif category not in ("Cs", "Cn") and (category != "Cf" or char in _JOINERS):
            kept.append(char)
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def strip_markup(text: str, ass: bool = False) -> str:
    """Caption text without players' markup: SubRip/WebVTT tags, ASS override blocks, ASS line breaks.

    ass: the text is an ASS event, where every braced block is invisible and \\N, \\n, \\h are breaks and a space.
    """
    text = re.sub(r"\{[^{}]*\}", "", text) if ass else _OVERRIDE.sub("", text)
    text = re.sub(r"\\[Nnh]", " ", text) if ass else text.replace("\\N", " ")
    return _TAG.sub("", text)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, the last one an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "\u2026"


def fit(items: list[TextItem]) -> tuple[list[TextItem], dict[Origin, str]]:
    """Clean the items, drop the empty ones, cap each and all of them together.

    Returns the items in order of `PRIORITY` (inside one origin their order is kept) and, by origin, a sentence on
    what was cut.
    """
    left = TOTAL_CHARS
    kept: list[TextItem] = []
    notes: dict[Origin, str] = {}
    for origin in PRIORITY:
        shortened = dropped = 0
        for item in items:
            if item.origin != origin:
                continue
            text = clean_text(item.text)
            if not text:
                continue
            if left <= 1:
                dropped += 1
                continue
            short = shorten(text, min(ITEM_CHARS, left))
            shortened += short != text
            left -= len(short)
            kept.append(item.model_copy(update={"text": short}))
        parts = []
        if shortened:
            parts.append(f"{shortened} text(s) cut to {ITEM_CHARS} characters each and {TOTAL_CHARS} in all")
        if dropped:
            parts.append(f"{dropped} text(s) left out beyond {TOTAL_CHARS} characters")
        if parts:
            notes[origin] = ", ".join(parts)
    return kept, notes


# ---- container tags that say something about the content ------------------------------------------------------------

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

"""The distortion library: 33 kinds for the picture, 27 for the sound, 4 for their agreement, 9 for captions.

Importing the package fills `REGISTRY`; `distort` is the one call that recipes need.
"""

from data_recipes.distortions import (
    audio,
    audio_codec,
    audio_level,
    audio_shape,
    audio_time,
    sync,
    text,
    text_legibility,
    video,
    video_codec,
    video_colour,
    video_temporal,
)
from data_recipes.distortions.base import REGISTRY, Caption, Kind, Material, distort, get, kinds
from data_recipes.distortions.captions import burn_in, captions_of, draw_captions

__all__ = [
    "REGISTRY",
    "Caption",
    "Kind",
    "Material",
    "burn_in",
    "captions_of",
    "distort",
    "draw_captions",
    "get",
    "kinds",
]

# imported for their effect: each module registers its kinds
_MODULES = (
    video,
    video_colour,
    video_temporal,
    video_codec,
    audio,
    audio_time,
    audio_shape,
    audio_level,
    audio_codec,
    sync,
    text,
    text_legibility,
)

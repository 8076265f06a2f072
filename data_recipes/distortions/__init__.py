"""The distortion library: kinds of faults for the picture, the sound, their agreement and captions.

Importing the package reads every file beside this one, which fills `REGISTRY`: a new kind is a function in any of them,
or in a file of its own. `distort` is the one call that recipes need.
"""

from importlib import import_module
from pkgutil import iter_modules

from data_recipes.distortions.base import REGISTRY, Caption, Kind, Material, alike, distort, get, kinds
from data_recipes.distortions.captions import burn_in, captions_of, draw_captions

__all__ = [
    "REGISTRY",
    "Caption",
    "Kind",
    "Material",
    "alike",
    "burn_in",
    "captions_of",
    "distort",
    "draw_captions",
    "get",
    "kinds",
]

for _module in iter_modules(__path__):  # in order of their names: plans draw kinds in the order of the registry
    import_module(f"{__name__}.{_module.name}")

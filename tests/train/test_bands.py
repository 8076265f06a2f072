"""The vision tower's start: energies of frequency bands stand in channels of their own from the first block on."""

from __future__ import annotations

import numpy as np
import torch
from transformers import Qwen2VLVideoProcessor

from train.nano import tiny


def energies(frames: np.ndarray) -> torch.Tensor:
    """Mean over patches of what the first MLP writes into the empty channels; frames uint8 [2, 56, 56, 3]."""
    size = tiny.Size(vocab=300, llm=(32, 1), vision=(64, 1), audio=(32, 1), heads=2)
    model, _ = tiny.build(["a b"], size)
    tiny.see_bands(model)
    mean, std = [tiny.PIXELS.mean] * 3, [tiny.PIXELS.std] * 3
    processor = Qwen2VLVideoProcessor(cap_pixels_per_frame=False, image_mean=mean, image_std=std)
    video = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
    pixels = processor(videos=[video], do_resize=False, do_sample_frames=False, return_tensors="pt")
    visual = model.model.visual
    with torch.no_grad():
        x = visual.patch_embed(pixels["pixel_values_videos"])
        empty = (x.abs().amax(0) == 0).nonzero().flatten()
        assert len(empty) == 64 * 3 // 8
        out: torch.Tensor = visual.blocks[0].mlp(visual.blocks[0].norm2(x))[:, empty].mean(0)
    return out


def grey(noise: float, step: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    still = 128 + rng.normal(0, noise, (1, 56, 56, 1)) if noise else np.full((1, 56, 56, 1), 128.0)
    frames = np.concatenate([still, still + step])
    return np.repeat(frames, 3, axis=3).clip(0, 255).astype(np.uint8)


def test_noise_raises_the_energies_with_its_level() -> None:
    calm, some, much = (energies(grey(s)).sum() for s in (0, 4, 8))
    assert calm < some < much
    assert much > 2 * some > 0


def test_flicker_raises_an_energy_that_noise_does_not() -> None:
    still, flicker = energies(grey(6)), energies(grey(6, step=20))
    k = int((flicker - still).argmax())
    assert flicker[k] > still[k] + 0.5
    assert abs(float(energies(grey(9))[k] - still[k])) < 0.2

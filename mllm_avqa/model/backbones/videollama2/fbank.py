"""Sound features of BEATs: Kaldi's log-mel filter banks (25 ms windows every 10 ms, 128 bands from 20 Hz to 8 kHz)."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

RATE = 16000  # Hz
WINDOW, HOP, FFT = 400, 160, 512  # samples
BANDS = 128
FLOOR = float(np.finfo(np.float32).eps)  # energy under which silence is equally silent
PREEMPHASIS = 0.97


@cache
def _filters() -> tuple[torch.Tensor, torch.Tensor]:
    """Povey window [WINDOW] and mel filters [FFT // 2 + 1, BANDS]."""
    from transformers.audio_utils import mel_filter_bank, window_function

    mel = mel_filter_bank(FFT // 2 + 1, BANDS, 20, RATE / 2, RATE, mel_scale="kaldi", triangularize_in_mel_space=True)
    window = window_function(WINDOW, "povey", periodic=False)
    return torch.from_numpy(window).float(), torch.from_numpy(mel).float()


def log_mel(sound: np.ndarray) -> torch.Tensor:
    """float32 [samples] at 16 kHz within -1..1, at least one window -> float32 [frames, 128].

    Samples count as 16-bit integers do. Incomplete last windows are dropped.
    """
    window, mel = _filters()
    frames = torch.from_numpy(np.ascontiguousarray(sound, np.float32)).unfold(0, WINDOW, HOP) * 2**15
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
    power = torch.fft.rfft((frames - PREEMPHASIS * before) * window, FFT).abs().square()
    return (power @ mel).clamp(min=FLOOR).log()

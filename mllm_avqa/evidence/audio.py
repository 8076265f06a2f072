"""Facts of the sound of a clip."""

from __future__ import annotations

import numpy as np

from mllm_avqa.evidence.catalogue import Findings
from mllm_avqa.evidence.interruptions import clicks, dropouts, silence
from mllm_avqa.evidence.levels import clipping, crest_factor, dc_offset, loudness, stereo, true_peak
from mllm_avqa.evidence.spectrum import bandwidth, hum, noise, spectrogram
from mllm_avqa.evidence.timbre import timbre
from mllm_avqa.schema.clip import AudioTrack


def measure_audio(track: AudioTrack) -> Findings:
    """All facts of `track.samples` float32 [channels, n]; spans are on the clip's clock."""
    samples = np.nan_to_num(np.asarray(track.samples, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    mono = loudest_mix(samples)
    power, freqs = spectrogram(mono, track.rate)
    out: Findings = {
        "loudness": loudness(samples, track.rate),
        "true_peak": true_peak(samples),
        "clipping": clipping(samples),
        "crest_factor": crest_factor(samples),
        "dc_offset": dc_offset(samples),
        "silence": silence(samples, track.rate, track.start),
        "dropouts": dropouts(mono, track.rate, track.start),
        "clicks": clicks(mono, track.rate),
        "hum": hum(mono, track.rate),
    }
    out |= stereo(samples)
    out |= bandwidth(power, freqs)
    out |= noise(power, freqs, out["bandwidth"].value)
    out |= timbre(power, freqs)
    return out


def loudest_mix(samples: np.ndarray) -> np.ndarray:
    """Mean of the channels [n]; the loudest channel alone where the mean cancels (opposite phase, one side silent)."""
    if samples.shape[0] == 1:
        return samples[0]
    mix = samples.mean(axis=0)
    power = np.square(samples).mean(axis=1)
    return mix if float(np.square(mix).mean()) > 0.25 * float(power.max()) else samples[int(power.argmax())]

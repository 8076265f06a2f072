"""The catalogue's entries on the sound and on sound against picture."""

from __future__ import annotations

from mllm_avqa.evidence.fact import Fact

SOUND_FACTS: dict[str, Fact] = {
    # audio
    "loudness": Fact(
        "audio",
        "LUFS",
        "integrated loudness",
        "ITU-R BS.1770-5 through pyloudnorm",
        above=(-13, -10.5, -8, -5.5, -3),
        below=(-32, -36, -42, -48, -55),
    ),
    "true_peak": Fact(
        "audio",
        "dBTP",
        "highest peak of the waveform, 4 times oversampled",
        "ITU-R BS.1770-5 annex 2",
        above=(0.3, 1.0, 2.0, 3.0, 4.5),
    ),
    "clipping": Fact(
        "audio",
        "%",
        "share of samples pressed against the channel's peak",
        "own measure: flat-top runs and crowding under the peak, relative to each channel's maximum",
        above=(0.2, 4, 14, 28, 45),
    ),
    "crest_factor": Fact(
        "audio",
        "dB",
        "peak to mean power ratio (small: squashed by clipping or compression)",
        "IEC 60268-18 (crest factor)",
        below=(9, 7.5, 6, 4.5, 3),
    ),
    "noise_floor": Fact(
        "audio",
        "dBFS",
        "level of the steady noise under the sound, as white noise",
        "minimum statistics: Martin, IEEE Trans. Speech and Audio Processing 9(5), 2001",
        above=(-55, -48, -42, -36, -30),
    ),
    "snr": Fact(
        "audio",
        "dB",
        "level of the sound above its steady noise floor",
        "minimum statistics: Martin, IEEE Trans. Speech and Audio Processing 9(5), 2001",
        below=(32, 27, 21, 15, 10),
    ),
    "bandwidth": Fact(
        "audio",
        "Hz",
        "highest frequency that carries sound",
        "long-term spectrum, as the effective bandwidth of ITU-R BS.1387 (PEAQ)",
        below=(11500, 8000, 6000, 4300, 2600),
    ),
    "low_cut": Fact(
        "audio",
        "Hz",
        "frequency below which only 5 % of the sound's power lies",
        "long-term spectrum, 5 % of power",
        above=(200, 350, 600, 1000, 1700),
    ),
    "silence": Fact(
        "audio",
        "%",
        "share of the sound that is silent (below -60 dBFS for 0.3 s or more)",
        "as FFmpeg silencedetect",
        above=(20, 35, 50, 75, 95),
    ),
    "dropouts": Fact(
        "audio",
        "%",
        "share of the sound lost in short holes (4 to 300 ms)",
        "abrupt energy holes; ITU-T P.563 (mutes and interruptions)",
        above=(0.3, 1.5, 4, 9, 18),
    ),
    "hum": Fact(
        "audio",
        "dB",
        "prominence of the third strongest harmonic of 50 or 60 Hz mains hum",
        "steady lines in the long-term spectrum, three harmonics required",
        above=(8, 12, 17, 23, 30),
    ),
    "dc_offset": Fact(
        "audio",
        "%",
        "mean of the waveform, of full scale",
        "mean per channel",
        above=(0.5, 1, 2, 5, 10),
    ),
    "balance": Fact(
        "audio",
        "dB",
        "level of the louder of left and right above the other",
        "ratio of channel powers",
        above=(2, 4.5, 8, 14, 30),
    ),
    "stereo_correlation": Fact(
        "audio",
        "ratio",
        "correlation of left and right (1 mono, 0 wide, -1 opposite phase)",
        "phase correlation meter, EBU Tech 3343",
        below=(0.0, -0.2, -0.45, -0.7, -0.9),
    ),
    "clicks": Fact(
        "audio",
        "1/s",
        "clicks and crackles per second",
        "outliers of the prediction residual: Godsill and Rayner, Digital Audio Restoration, 1998",
        above=(0.6, 1.7, 4.5, 10, 20),
    ),
    # between sound and picture
    "av_start_offset": Fact(
        "sync",
        "ms",
        "start of the sound minus start of the picture in the file",
        "container timestamps; ITU-R BT.1359-1",
    ),
    "av_duration_difference": Fact(
        "sync",
        "ms",
        "length of the sound minus length of the picture in the file",
        "container timestamps",
        above=(300, 700, 1500, 3000, 6000),
        below=(-300, -700, -1500, -3000, -6000),
    ),
    "timestamp_gaps": Fact(
        "sync",
        "ms",
        "total time that the timestamps of sound or picture skip",
        "presentation timestamps",
        above=(40, 120, 300, 800, 2000),
    ),
    "av_content_offset": Fact(
        "sync",
        "ms",
        "sound minus picture, from onsets in both (positive: the sound is late)",
        "onset correlation; thresholds of ITU-R BT.1359-1",
        above=(125, 185, 260, 400, 700),
        below=(-45, -90, -150, -250, -450),
    ),
}

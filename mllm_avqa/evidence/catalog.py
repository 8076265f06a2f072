"""Every signal fact this package measures: what it is, its unit, its five thresholds, its source.

The thresholds are the values at which a fact becomes faint, slight, moderate, strong and severe (`SEVERITIES[1:]`).
They were set on real camera, film, speech and music clips against the same clips with synthetic faults of levels 1-5,
so that a clean clip is "none" or "faint" and level k lands on `SEVERITIES[k]` or a neighbour of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mllm_avqa.evidence.base import SEVERITIES, Modality, Severity, graded

Thresholds = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Fact:
    """One entry of the catalogue. A value can be bad because it is too large (`above`), too small (`below`) or both."""

    modality: Modality
    unit: str
    what: str  # one sentence for people
    source: str  # where the measure comes from
    above: Thresholds | None = None
    below: Thresholds | None = None

    def severity(self, value: float) -> Severity:
        """The worse of the two directions; "none" for a fact that carries no judgement."""
        verdicts = [graded(value, t) for t in (self.above, self.below) if t is not None]
        return max(verdicts, key=SEVERITIES.index, default="none")


FACTS: dict[str, Fact] = {
    # container
    "resolution": Fact(
        "video",
        "px",
        "shorter side of the picture",
        "ITU-T P.1203.1 treats display resolution as a quality parameter of its own",
        below=(719, 479, 359, 239, 143),
    ),
    "frame_rate": Fact(
        "video",
        "fps",
        "different pictures shown per second (repeated frames do not count)",
        "ITU-T P.1203.1 (temporal degradation); Ou, Ma, Liu, Wang, IEEE TCSVT 21(3), 2011",
        below=(22, 17.5, 12.5, 8, 4.5),
    ),
    "bitrate": Fact(
        "video",
        "bit/px",
        "coded bits per pixel and frame of the video stream",
        "ITU-T P.1203.1 mode 0/1 (bits per pixel)",
        below=(0.012, 0.007, 0.004, 0.0022, 0.0012),
    ),
    "decode_errors": Fact(
        "video",
        "count",
        "packets or frames of the window that were damaged or could not be decoded",
        "count of decoder errors",
        above=(1, 2, 4, 8, 16),
    ),
    # spatial
    "blur": Fact(
        "video",
        "px at 540p",
        "typical width (Gaussian sigma) of the picture's edges",
        "re-blur gradient ratio: Zhuo and Sim, Pattern Recognition 44(9), 2011",
        above=(1.2, 1.6, 2.3, 3.0, 3.7),
    ),
    "detail": Fact(
        "video",
        "dB",
        "fine relative to coarse detail (0: as in nature, low: smeared, high: grain or sharpening)",
        "octave-band energies of a Laplacian pyramid: Burt and Adelson, 1983; Field, JOSA A 4(12), 1987",
        above=(2, 3.2, 4.4, 5.7, 7),
        below=(-7.5, -8.7, -10.5, -13, -15.5),
    ),
    "blockiness": Fact(
        "video",
        "dB",
        "how far gradients on the 8-px grid of coding blocks stand out from those inside blocks",
        "Wu and Yuen, IEEE Signal Processing Letters 4(11), 1997",
        above=(1.7, 2.6, 3.8, 4.9, 6.2),
    ),
    "mosaic": Fact(
        "video",
        "px at 540p",
        "cell size of a mosaic or nearest-neighbour enlargement (1: none)",
        "harmonic sum of the gradient profile's spectrum, after Schroeder, JASA 43(4), 1968",
        above=(1.25, 2.3, 4, 6.5, 10),
    ),
    "noise": Fact(
        "video",
        "levels of 255",
        "standard deviation of grain in the flattest parts of the picture",
        "Immerkaer, Computer Vision and Image Understanding 64(2), 1996, on the flattest blocks",
        above=(1.5, 3.5, 6.5, 11.5, 19),
    ),
    "chroma_noise": Fact(
        "video",
        "levels of 255",
        "standard deviation of colour grain in the flattest parts of the picture",
        "as noise, on the colour-difference planes",
        above=(0.8, 1.5, 2.7, 4.2, 6),
    ),
    "impulse_noise": Fact(
        "video",
        "%",
        "share of isolated black or white pixels",
        "median detector: Gonzalez and Woods, Digital Image Processing, 5.3",
        above=(0.06, 0.2, 0.6, 1.5, 3.5),
    ),
    "banding": Fact(
        "video",
        "index",
        "false contours: share of smooth transitions in one step, times raggedness of the histogram",
        "after CAMBI: Tandon et al., Picture Coding Symposium 2021",
        above=(6.5, 8.5, 11.5, 15, 30),
    ),
    "overexposure": Fact(
        "video",
        "%",
        "share of the picture burnt out to white",
        "share of clipped samples, as in ITU-T P.910 signal checks",
        above=(6, 11, 17, 25, 36),
    ),
    "underexposure": Fact(
        "video",
        "stops",
        "how far the brightest 5 % of the picture stay below white",
        "luma percentile converted with the display gamma of ITU-R BT.1886",
        above=(1.2, 1.9, 2.6, 3.4, 4.3),
    ),
    "crushed_blacks": Fact(
        "video",
        "%",
        "share of the picture at the very bottom of the scale",
        "share of clipped samples, as in ITU-T P.910 signal checks",
        above=(4, 8, 13, 19, 27),
    ),
    "contrast": Fact(
        "video",
        "%",
        "range between the darkest and brightest 2 % of the picture, of full scale",
        "percentile contrast; Peli, JOSA A 7(10), 1990",
        below=(55, 45, 35, 26, 17),
    ),
    "colourfulness": Fact(
        "video",
        "index",
        "colourfulness: 0 grey, 33 moderate, 59 very colourful, above 109 extreme",
        "Hasler and Suesstrunk, Proc. SPIE 5007, 2003",
        above=(70, 80, 90, 105, 120),
        below=(13, 9, 6, 4, 2),
    ),
    "colour_cast": Fact(
        "video",
        "Lab",
        "distance of the greyest half of the picture from neutral grey",
        "grey-world assumption: Buchsbaum, J. Franklin Institute 310(1), 1980",
        above=(14, 20, 27, 35, 45),
    ),
    "interlacing": Fact(
        "video",
        "%",
        "share of pixels that show combing between odd and even lines",
        "comb detector of three-line differences, as in FFmpeg idet and Decomb",
        above=(1.5, 4, 9, 18, 30),
    ),
    # temporal
    "flicker": Fact(
        "video",
        "%",
        "frame-to-frame jitter of the mean brightness",
        "second difference of mean luma; ITU-T P.910 (flicker as an impairment)",
        above=(1.2, 3, 6.5, 12, 19),
    ),
    "freeze": Fact(
        "video",
        "s",
        "longest stretch in which the picture stands still while the clip otherwise moves",
        "ITU-T P.1203.3 (stalling); ITU-T J.247 annex (frozen frames)",
        above=(0.4, 1.0, 1.9, 3, 4.7),
    ),
    "duplicate_frames": Fact(
        "video",
        "%",
        "share of frames that repeat the one before",
        "ITU-T J.247 annex (frame repetition)",
        above=(4, 13, 26, 45, 65),
    ),
    "judder": Fact(
        "video",
        "%",
        "variation of the time between different pictures, relative to its mean",
        "coefficient of variation; Huynh-Thu and Ghanbari, IEEE ICIP 2006 (regular and irregular frame freezing)",
        above=(22, 36, 50, 65, 80),
    ),
    "black": Fact(
        "video",
        "%",
        "share of frames that are black",
        "luma percentile per frame, as in FFmpeg blackdetect",
        above=(0.4, 2, 4.5, 9, 17),
    ),
    "shake": Fact(
        "video",
        "px at 540p",
        "root mean square of the jitter in global motion between frames",
        "phase correlation: Kuglin and Hines 1975, high-passed as in video stabilisation",
        above=(0.8, 2, 4, 7, 11),
    ),
    "motion": Fact(
        "video",
        "levels of 255",
        "mean absolute difference between successive frames (how much moves)",
        "temporal information, ITU-T P.910",
    ),
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

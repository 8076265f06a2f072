"""Where the kinds and their levels come from. One constant per publication; `Kind.source` is made of these."""

# Picture
KADID = "KADID-10k (Lin, Hosu, Saupe, QoMEX 2019)"
LIVE_VQA = "LIVE Video Quality Database (Seshadrinathan et al., IEEE TIP 2010)"
LIVE_NFLX = "LIVE-NFLX-II (Bampis et al., IEEE TIP 2021)"
LIVE_QUALCOMM = "LIVE-Qualcomm in-capture distortions (Ghadiyaram et al., IEEE TCSVT 2018)"
LIVE_STALLING = "stalling events in mobile streaming (Ghadiyaram, Pan, Bovik, IEEE TCSVT 2019)"
AVT_UHD = "AVT-VQDB-UHD-1 (Rao et al., IEEE ISM 2019)"
CODEC_TEST = "HEVC and AV1 compared (Zhang et al., arXiv:2003.10282)"
CAMBI = "CAMBI banding index (Tandon et al., PCS 2021)"
FLICKER = "flicker in natural videos (Choi, Cormack, Bovik, Signal Processing: Image Communication 2015)"
BVI_HFR = "BVI-HFR frame rates (Mackin, Zhang, Bull, IEEE TMM 2019)"
JERKINESS = "jerkiness and jitter (Huynh-Thu, Ghanbari, IEEE Trans. Broadcasting 2008)"
INTERLACING = "fields and combing (de Haan, Bellers, Deinterlacing: an overview, Proc. IEEE 1998)"
KEY_INDICATORS = "blackout as key indicator (Leszczuk et al., Multimedia Tools and Applications 2016)"
SRGB = "sRGB curve of IEC 61966-2-1"

G1070 = "ITU-T G.1070, picture quality falls as exp(-loss / 2.5 %)"
YOUTUBE = "stalls in YouTube (Hossfeld et al., IEEE ISM 2011): MOS = 3.5 exp(-(0.15 L + 0.19) N) + 1.5"
FRAME_RATE = "quality over frame rate (Ou, Ma, Liu, Wang, IEEE TCSVT 21(3) 2011)"
RATE_VARIATION = "frame rate variation (Ou, Zhou, Wang, ICASSP 2010)"
HDR = (
    "SMPTE ST 2084 shown by the sRGB curve; ITU-R BT.2408: diffuse white at 203 cd/m2; ITU-R BT.2087 for the primaries"
)
RETARGETING = "image retargeting, uniform scaling (Rubinstein et al., ACM TOG 29(6) 2010)"
SHARPENING = "quality of sharpened images (Krasula, Le Callet, Fliegel, Klima, IEEE TIP 2017)"
SHOCK = (
    "shock filter (Kramer, Bruckner, Pattern Recognition 1975); artefacts of upscalers (Liang, Zeng, Zhang, CVPR 2022)"
)
LEARNT_CODEC = "detail of learnt video codecs (Mentzer et al., ECCV 2022)"

# Sound
TCD = "TCD-VoIP (Harte, Gillen, Hines, QoMEX 2015)"
UNB = "UnB-AV experiments (Becerra Martinez, Hines, Farias, Applied Sciences 11(13) 2021)"
LIVE_SJTU = "LIVE-SJTU (Min et al., IEEE TIP 2020)"
RESTORATION = "Godsill, Rayner, Digital Audio Restoration, Springer 1998"
CLIPPING = "hard and soft clipping (Tan, Moore, Zacharov, JAES 2003)"
REVERBERATION = "exponential tail (Polack 1988; Naylor, Gaubitch, Speech Dereverberation, Springer 2010)"
HUM = "mains hum (Brandt, Bitzer, JAES 2014)"
ANCHORS = "low-pass anchors of ITU-R BS.1534-3 (3.5 and 7 kHz)"
BANDS = "naturalness of band-limited speech and music (Moore, Tan, JASA 2003)"
TELEPHONE = "telephone band of ITU-T G.712 and wide band of ITU-T G.722"
WOW = "IEC 60386 wow and flutter (4 Hz weighs most)"
LOUDNESS = "EBU R 128 (-23 LUFS), measured by ITU-R BS.1770-4"
SPATIAL = "spatial fidelity (Rumsey et al., JASA 2005)"
ALIASING = "audibility of aliasing (Lehtonen, Pekonen, Valimaki, JASA 2012)"
QUANTISATION = "quantisation (Lipshitz, Wannamaker, Vanderkooy, JAES 1992)"
COMPRESSION = "compression limiting of music (Croghan, Arehart, Kates, JASA 2012)"
MP3 = "MP3 bit rates (Pras et al., AES 127th Convention 2009)"
OPUS = "IETF RFC 6716; Opus listening tests (Ramo, Toukomaa, Interspeech 2011)"
AMR = "AMR narrow-band (3GPP TS 26.071)"

EMODEL = "ITU-T G.107 E-model with ITU-T G.113 Appendix I"
CONCEALMENT = "concealment of ITU-T G.711 Appendix I"
STALLING = "ITU-T P.1203.3, interruptions"
ENCODEC = "neural codecs at low rates (Defossez, Copet, Synnaeve, Adi, TMLR 2023)"
PEASS = "artefacts of source separation (Emiya, Vincent, Harlander, Hohmann, IEEE TASLP 2011)"
MASKS = "speech through masks (Corey, Jones, Singer, JASA 2020)"

# Agreement of both
BT1359 = "ITU-R BT.1359-1 (detectable +45/-125 ms, acceptable +90/-185 ms), EBU R37 (+40/-60 ms)"
AVTS = "AVTS (Korbar, Tran, Torresani, NeurIPS 2018): easy, hard and super-hard negatives"

# Text
GUIDELINES = "BBC Subtitle Guidelines; Netflix Timed Text Style Guide"
READING = "fast subtitles (Szarkowska, Gerber-Moron, PLoS ONE 2018)"
NER = "accuracy of live subtitles, NER model (Romero-Fresco, Martinez 2015)"
WCAG = "WCAG 2.1 contrast 4.5:1 (W3C 2018)"
ERGONOMICS = "character height of ISO 9241-303"
LEGIT = "LEGIT (Seth et al., EACL 2023)"
SCREEN_CONTENT = "screen content video (Cheng et al., IEEE TIP 2020)"

# How levels were spaced where a publication gives kinds but no doses
VMAF_540 = "spaced by VMAF at 540p"
MSSSIM_540 = "spaced by VMAF and MS-SSIM at 540p"
EARS = "spaced by ViSQOL and PESQ on speech"
DOSE = "spaced by dose, as full-reference measures do not answer"

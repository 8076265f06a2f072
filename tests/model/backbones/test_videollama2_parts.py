"""The parts of VideoLLaMA2-AV, each against transformers or numbers of the published code on equal weights."""

import types

import numpy as np
import pytest
import torch
from transformers import SiglipImageProcessor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function
from transformers.models.t5.modeling_t5 import T5Attention

from mllm_avqa.model.backbones.videollama2 import fbank
from mllm_avqa.model.backbones.videollama2.backbone import patches
from mllm_avqa.model.backbones.videollama2.beats import Beats, buckets
from mllm_avqa.model.backbones.videollama2.config import VideoLlama2Config
from mllm_avqa.model.backbones.videollama2.connector import STCConnector
from mllm_avqa.model.backbones.videollama2.model import VideoLlama2ForConditionalGeneration, Vision, fill

PUBLISHED = {
    "model_type": "videollama2_qwen2",
    "architectures": ["Videollama2Qwen2ForCausalLM"],
    "hidden_size": 3584,
    "hidden_size_a": 3584,
    "intermediate_size": 18944,
    "mm_audio_tower": "somewhere/audio_tower.bin",
    "mm_projector_a_type": "mlp2x_gelu",
    "mm_projector_type": "stc_connector_v35",
    "mm_vision_select_layer": -2,
    "mm_vision_tower": "google/siglip-so400m-patch14-384",
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "rope_theta": 1000000.0,
    "sliding_window": 131072,
    "torch_dtype": "bfloat16",
    "use_sliding_window": False,
    "vocab_size": 152064,
}


def deterministic(state):
    """Weights that need no random generator: sines, in the order of the published names."""
    old = {"pos_conv.bias": "pos_conv.0.bias", "pos_conv.gain": "pos_conv.0.weight_g"}
    old["pos_conv.direction"] = "pos_conv.0.weight_v"
    published = {next((k.replace(a, b) for a, b in old.items() if a in k), k): v for k, v in state.items()}
    for i, (name, v) in enumerate(sorted(published.items())):
        wave = torch.sin(torch.arange(v.numel(), dtype=torch.float64) * (i + 1) * 0.7).view(v.shape)
        if (v.ndim == 1 and name.endswith("weight")) or name.endswith(("grep_a", "weight_g")):
            v.copy_(1 + 0.3 * wave)
        else:
            v.copy_(wave * (v[0].numel() ** -0.5 if v.ndim > 1 else 0.2))


def ramp(*shape):
    return torch.cos(torch.arange(int(np.prod(shape)), dtype=torch.float64) * 0.37).view(shape).float()


def beats_config(**changes):
    sizes = dict(embed_dim=8, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    return types.SimpleNamespace(
        **sizes, patch_size=16, conv_kernel=6, conv_groups=4, num_buckets=16, max_distance=20, **changes
    )


# ---- connector ------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_connector_gives_the_published_numbers():
    """Reference run: STCConnectorV35 of DAMO-NLP-SG/VideoLLaMA2 (8cedfbd) with timm 1.0.31, these weights and input."""
    connector = STCConnector(8, 16)
    deterministic(connector.state_dict())
    y = connector(ramp(4, 5, 7, 8))
    assert y.shape == (2 * 2 * 3, 16)
    assert float(y.abs().double().sum()) == pytest.approx(68.07207222748548, abs=1e-3)
    first = torch.tensor([-0.2943629324436188, 0.5471508502960205, 0.6323003768920898, 0.732140839099884])
    last = torch.tensor([0.06522520631551743, 0.09049896895885468, -0.3518952429294586, -0.15738800168037415])
    torch.testing.assert_close(y[0, :4], first, atol=1e-5, rtol=0)
    torch.testing.assert_close(y[-1, :4], last, atol=1e-5, rtol=0)


@torch.no_grad()
def test_connector_merges_two_frames_and_mixes_no_others():
    connector = STCConnector(8, 16)
    deterministic(connector.state_dict())
    x = ramp(4, 4, 4, 8)
    y = connector(x).view(2, 4, 16)
    x[3] += 1
    z = connector(x).view(2, 4, 16)
    assert torch.equal(y[0], z[0])
    assert (y[1] - z[1]).abs().min() > 1e-4


def test_published_sizes():
    """16 frames are 1352 tokens (arXiv 2406.07476), the parts as large as in the published code (reference run)."""
    config = VideoLlama2Config.from_dict(dict(PUBLISHED))
    with torch.device("meta"):
        model = VideoLlama2ForConditionalGeneration(config)
        tokens = model.model.visual.connector(torch.empty(16, 27, 27, 1152))
    assert tokens.shape == (1352, 3584)
    assert sum(p.numel() for p in model.model.visual.connector.parameters()) == 376_889_248
    assert sum(p.numel() for p in model.parameters()) == 8_526_647_888
    assert len(model.state_dict()) == 1143


# ---- sound ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_beats_gives_the_published_numbers():
    """Reference run: BEATs of DAMO-NLP-SG/VideoLLaMA2 (8cedfbd), two layers, these weights and input."""
    beats = Beats(beats_config())
    deterministic(beats.state_dict())
    (y,) = beats(ramp(1, 100, 128) * 6 + 12, torch.tensor([100]))
    assert y.shape == (6 * 8, 16)
    assert float(y.double().sum()) == pytest.approx(88.198847821448, abs=1e-3)
    assert float(y.abs().double().sum()) == pytest.approx(593.1854660999961, abs=1e-3)
    first = torch.tensor([-0.4585318863391876, 0.8741995692253113, -0.13000915944576263, -0.23809568583965302])
    last = torch.tensor([0.7736333608627319, 0.8462062478065491, -1.4267587661743164, 0.3537330627441406])
    torch.testing.assert_close(y[0, :4], first, atol=1e-5, rtol=0)
    torch.testing.assert_close(y[-1, :4], last, atol=1e-5, rtol=0)


@torch.no_grad()
def test_beats_hears_no_padding():
    beats = Beats(beats_config())
    deterministic(beats.state_dict())
    features = ramp(2, 100, 128) * 6 + 12
    together = beats(features, torch.tensor([100, 50]))
    alone = beats(features[1:, :50], torch.tensor([50]))[0]
    assert len(alone) == 50 // 16 * 8
    assert (together[1] - alone).abs().max() < 1e-5
    assert (together[0][:24] - together[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("length", "count", "distance"), [(200, 32, 64), (300, 320, 800), (1496, 320, 800)])
def test_buckets_are_those_of_t5(length, count, distance):
    place = torch.arange(length)
    ours = buckets(length, count, distance, torch.device("cpu"))
    theirs = T5Attention._relative_position_bucket(place[None] - place[:, None], True, count, distance)
    assert torch.equal(ours, theirs)


def chirp(samples=4000):
    n = torch.arange(samples)
    return (torch.sin(n * 0.3) * 0.3 + torch.sin(n**2 * 1e-4) * 0.2).numpy()


def test_log_mel_gives_kaldi_s_numbers():
    """Reference run: torchaudio.compliance.kaldi.fbank 2.11, mean in double precision, places in single."""
    found = fbank.log_mel(chirp())
    assert found.shape == ((4000 - 400) // 160 + 1, 128)
    assert float(found.double().mean()) == pytest.approx(7.805817096863727, abs=1e-3)
    expected = torch.tensor([10.646256446838379, 16.029367446899414, 24.572538375854492, 6.579141139984131])
    torch.testing.assert_close(found[-1, ::32], expected, atol=1e-2, rtol=0)


def test_log_mel_is_the_spectrogram_of_transformers():
    filters = mel_filter_bank(257, 128, 20, 8000, 16000, mel_scale="kaldi", triangularize_in_mel_space=True)
    settings = dict(power=2.0, center=False, preemphasis=0.97, remove_dc_offset=True, mel_floor=fbank.FLOOR)
    expected = spectrogram(
        chirp().astype(np.float64) * 2**15, window_function(400, "povey", periodic=False), 400, 160, 512,
        mel_filters=filters, log_mel="log", **settings,
    )  # fmt: skip
    heard = expected.T > 3  # bands 100 dB below the loudest hold the rounding of single precision
    assert heard.mean() > 0.7
    assert np.abs(fbank.log_mel(chirp()).numpy() - expected.T)[heard].max() < 5e-3


def test_silence_is_the_floor():
    assert torch.equal(fbank.log_mel(np.zeros(800, np.float32)), torch.full((3, 128), float(np.log(fbank.FLOOR))))


# ---- frames ---------------------------------------------------------------------------------------------------


def small_vision():
    torch.manual_seed(0)
    vision = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2)
    config = VideoLlama2Config(
        text_config=dict(hidden_size=16, num_attention_heads=2, num_key_value_heads=1, vocab_size=8),
        vision_config=vision | dict(image_size=76, patch_size=14),  # as 384: no multiple of the patch, an odd grid
    )
    return Vision(config).eval()


@torch.no_grad()
def test_frames_of_the_tower_s_size_are_those_of_transformers():
    """SiglipVisionModel's second last hidden state of the processor's pixels, then the connector."""
    vision = small_vision()
    frames = np.random.default_rng(0).integers(0, 255, (4, 76, 76, 3), dtype=np.uint8)
    pixels = SiglipImageProcessor(do_resize=False)(list(frames), return_tensors="pt")["pixel_values"]
    features = vision.tower(pixels, output_hidden_states=True).hidden_states[-2]
    expected = vision.connector(features.view(4, 5, 5, 32))
    cut = patches(frames, 14) / 127.5 - 1
    found = vision(cut.flatten(0, 2), torch.tensor([cut.shape[:3]]))
    assert found.shape == (2 * 2 * 2, 16)
    assert (found - expected).abs().max() < 1e-5
    assert found.std() > 1e-3


@torch.no_grad()
def test_other_sizes_stretch_the_positions():
    vision = small_vision()
    frames = np.random.default_rng(0).integers(0, 255, (2, 56, 112, 3), dtype=np.uint8)
    pixels = SiglipImageProcessor(do_resize=False)(list(frames), return_tensors="pt")["pixel_values"]
    features = vision.tower(pixels, interpolate_pos_encoding=True, output_hidden_states=True).hidden_states[-2]
    cut = patches(frames, 14) / 127.5 - 1
    found = vision(cut.flatten(0, 2), torch.tensor([cut.shape[:3]]))
    assert (found - vision.connector(features.view(2, 4, 8, 32))).abs().max() < 1e-5


def test_media_that_do_not_fit_their_places_are_refused():
    with pytest.raises(ValueError, match="3 media tokens for 2 places"):
        fill(torch.zeros(1, 4, 8), torch.tensor([[True, True, False, False]]), torch.ones(3, 8))


# ---- configuration --------------------------------------------------------------------------------------------


def test_a_published_configuration_is_read():
    config = VideoLlama2Config.from_dict(dict(PUBLISHED))
    assert config.text_config.rope_parameters["rope_theta"] == 1e6
    assert (config.text_config.hidden_size, config.text_config.num_key_value_heads) == (3584, 4)
    assert config.text_config.sliding_window is None
    assert (config.vision_config.image_size, config.vision_config.num_hidden_layers) == (384, 27)
    assert (config.audio_config.num_buckets, config.audio_config.pad_seconds) == (320, 30)
    assert config.select_layer == -2
    again = VideoLlama2Config.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mm_vision_tower": "openai/clip-vit-large-patch14-336"}, "'clip-vit-large-patch14-336' is not one of siglip"),
        ({"mm_projector_type": "stc_connector"}, "mm_projector_type is 'stc_connector', only 'stc_connector_v35'"),
        ({"mm_projector_a_type": None}, "mm_projector_a_type is None"),  # a video-only checkpoint
    ],
)
def test_other_variants_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        VideoLlama2Config.from_dict(PUBLISHED | change)

"""Plain products against torch's own attention: the same numbers, and torch's own wherever they are not for."""

import pytest
import torch

from mllm_avqa.model.backbones import attention
from mllm_avqa.model.backbones.attention import attend

SCALE = 0.25


class Layer(torch.nn.Module):
    is_causal = False
    num_key_value_groups = 2


def inputs(kind, masked=True, length=20, keys=24):
    torch.manual_seed(0)
    q = torch.randn(2, 4, length, 16, dtype=kind)
    k, v = (torch.randn(2, 2, keys, 16, dtype=kind) for _ in range(2))
    mask = torch.rand(2, 1, length, keys) > 0.4
    mask[..., 0] = True  # everything sees something
    return q, k, v, mask if masked else None


def reference(q, k, v, mask):
    k, v = (x.double().repeat_interleave(2, 1) for x in (k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q.double(), k, v, mask, scale=SCALE)
    return out.transpose(1, 2)


@pytest.mark.parametrize("masked", [True, False])
def test_bfloat16_on_a_cpu_gives_the_same_within_its_rounding(masked, monkeypatch):
    monkeypatch.setattr("transformers.integrations.sdpa_attention.sdpa_attention_forward", None)  # not called
    q, k, v, mask = inputs(torch.bfloat16, masked)
    q = q.requires_grad_()
    found, weights = attend(Layer(), q, k, v, mask, scaling=SCALE)
    assert (found.shape, found.dtype, weights) == ((2, 20, 4, 16), torch.bfloat16, None)
    wide = q.detach().double().requires_grad_()
    expected = reference(wide, k, v, mask)
    torch.testing.assert_close(found.double(), expected, atol=0.02, rtol=0.02)
    found.float().sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(q.grad.double(), wide.grad, atol=0.03, rtol=0.03)


@pytest.mark.parametrize("why", ["float32", "causal without a mask", "dropout", "long rows", "additive mask"])
def test_all_else_is_torchs(why, monkeypatch):
    q, k, v, mask = inputs(torch.float32 if why == "float32" else torch.bfloat16, why != "causal without a mask")
    layer, rate = Layer(), 0.0
    if why == "causal without a mask":
        layer.is_causal = True
    if why == "dropout":
        rate = 0.1
    if why == "long rows":
        monkeypatch.setattr(attention, "MOST_BYTES", 100)
    if why == "additive mask":
        mask = torch.zeros(mask.shape, dtype=q.dtype).masked_fill(~mask, -1e4)
    assert not attention.plain(layer, q, k, mask, rate)
    if why != "dropout":
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found = attend(layer, q, k, v, mask, scaling=SCALE)[0]
        torch.testing.assert_close(
            found, sdpa_attention_forward(layer, q, k, v, mask, scaling=SCALE)[0], atol=0, rtol=0
        )


def test_autocast_counts_as_what_it_casts_to():
    q, k, v, mask = inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert attention.plain(Layer(), q, k, mask, 0.0)
        assert attend(Layer(), q, k, v, mask)[0].dtype == torch.bfloat16

"""What the benchmark of parity measures holds for every family: the packed computation is the unpacked one."""

import pytest

from benchmarks import parity


@pytest.mark.parametrize("name", parity.FAMILIES)
def test_packed_reloaded_and_merged_are_the_same_computation(name):
    """Logits, loss and gradients in fp32, 1e-5."""
    found = parity.differences(name)
    assert len(found) == 6
    assert {k: v for k, v in found.items() if not v <= parity.ALLOWED} == {}


def test_a_question_that_saw_another_would_be_noticed(monkeypatch):
    """With a mask that lets a question see the one before it, packed and separate rows are far apart."""
    from mllm_avqa import corridor

    pack = corridor.pack

    def leaky(*args, **kwargs):
        row = pack(*args, **kwargs)
        row.visible[row.prefix_length :] = row.visible.new_ones(row.visible.shape).tril()[row.prefix_length :]
        return row

    monkeypatch.setattr(corridor, "pack", leaky)
    found = parity.differences("qwen2_5_omni")
    assert found["logits, packed and separate"] > 1e-2
    assert found["gradients, packed and separate"] > 1e-2

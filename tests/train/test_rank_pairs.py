"""Pairs of the rank loss: only within one dataset and one aspect, and across all processes of a run."""

from __future__ import annotations

import os
import socket

import pytest
import torch
from sample_views import make_views

from mllm_avqa.schema.card import Card
from mllm_avqa.schema.records import Label, Record
from mllm_avqa.schema.text import TextContext
from train.cache import CachedWindow
from train.config import InputDropout, QuestionMix
from train.data import Collator
from train.losses import fidelity, shared_fidelity
from train.questions import Drawing

SHARES = (((0, 3), (3, 7)), ((0, 0), (0, 7)))  # rows of each rank: unequal, and a rank that has no levels at all
N, WIDTH = 7, 4


def table():
    """Inputs [7, 4], weights [4] and labels of seven clips in two groups."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(N, WIDTH, generator=generator), torch.randn(WIDTH, generator=generator)
    mean = torch.tensor([1.5, 4.0, 2.5, 3.0, 4.5, 2.0, 3.5])
    return x, w, mean, torch.full((N,), 0.6), torch.tensor([8, 8, 2**35 + 1, 8, 2**35 + 1, 8, 2**35 + 1])


def gradient(rows, loss_of=fidelity):
    """(value, gradient at the weights) of the loss over these rows."""
    x, w, mean, std, group = table()
    w = w.requires_grad_()
    score = 3 + (x @ w)[rows].tanh()
    loss = loss_of(score, torch.full_like(score, 0.5), mean[rows], std[rows], group[rows])
    (loss + 0 * w.sum()).backward()
    return loss.item(), w.grad


def rank_main(rank, port, box):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    for k, shares in enumerate(SHARES):
        value, mine = gradient(slice(*shares[rank]), shared_fidelity)
        torch.distributed.all_reduce(mine)
        box[k, rank] = (value, (mine / 2).tolist())  # as DDP and DeepSpeed do it
    torch.distributed.destroy_process_group()


@pytest.mark.processes
def test_two_processes_have_value_and_gradient_of_one():
    """Reference run: `fidelity` over all rows in one process; 1e-6."""
    import torch.multiprocessing as mp

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with mp.Manager() as manager:
        box = manager.dict()
        mp.spawn(rank_main, (port, box), nprocs=2)
        found = box.copy()
    value, expected = gradient(slice(0, N))
    assert expected.abs().max() > 1e-2
    assert len(found) == 4
    for got, averaged in found.values():
        assert got == pytest.approx(value, abs=1e-6)
        assert torch.tensor(averaged) == pytest.approx(expected, abs=1e-6)


def test_alone_it_is_the_loss_itself():
    value, expected = gradient(slice(0, N))
    got, found = gradient(slice(0, N), shared_fidelity)
    assert got == pytest.approx(value, abs=1e-6)
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_group_is_one_dataset_and_one_aspect(tiny):
    """Clips of two datasets with votes, a std, and neither: as many groups as datasets times aspects."""
    card = Card(name="x", family="qwen2_5_omni", languages=["en"])
    collator = Collator(tiny, card, 0, Drawing(QuestionMix(stage2=1), InputDropout(facts=0, views=0, context=0)))
    labels = (Label(mean=2.0), Label(mean=4.0, std=0.5), Label(mean=3.6, votes=[0, 1, 3, 5, 1]))
    items = []
    for k, (dataset, label) in enumerate((d, lb) for d in ("a", "b") for lb in labels):
        record = Record(id=str(k), media="m", dataset=dataset, group=str(k), labels={"video": label, "audio": label})
        items.append({"record": record, "window": CachedWindow(make_views(), [], TextContext(), {})})
    batch = collator(items)
    group = batch["level_group"].view(6, 2)  # clip x aspect
    assert len(group.unique()) == 4
    for dataset in (group[:3], group[3:]):
        assert len(dataset[:, 0].unique()) == len(dataset[:, 1].unique()) == 1
    assert (batch["level_std"] > 0).all()  # a std that is not given is that of the SOS hypothesis
    assert batch["level_std"].view(6, 2)[0, 0] == pytest.approx((0.2 * (-4 + 12 - 5)) ** 0.5)
    assert batch["level_std"].view(6, 2)[1, 0] == pytest.approx(0.5)
    votes = batch["level_target"].view(6, 2, 5)[2, 0]
    assert votes.tolist() == pytest.approx([0.1, 0.5, 0.3, 0.1, 0.0])  # best first, used as they are

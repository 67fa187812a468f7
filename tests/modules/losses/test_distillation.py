"""BYOL's, SimSiam's, DINO's and SwAV's losses against closed forms and lightly's."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from modules.backbones import Timm
from modules.contracts import Features
from modules.heads import Prototypes
from modules.losses.contrastive import info_nce, info_nce_in_batch, nt_xent
from modules.losses.distillation import dino, entropy, negative_cosine, sinkhorn, teacher_probabilities


def test_negative_cosine_is_minus_one_for_equal_directions_and_zero_for_orthogonal_ones():
    x = torch.randn(4, 8)
    assert negative_cosine(x, 3 * x).item() == pytest.approx(-1)
    assert negative_cosine(torch.eye(4), torch.eye(4).roll(1, 0)).item() == pytest.approx(0)


def test_byols_distance_is_two_plus_twice_the_negative_cosine():
    p, z = torch.randn(6, 8), torch.randn(6, 8)
    squared = (normalize(p, dim=1) - normalize(z, dim=1)).square().sum(1).mean()
    torch.testing.assert_close(2 + 2 * negative_cosine(p, z), squared)


def test_no_gradient_reaches_the_targets():
    p, z = torch.randn(6, 8, requires_grad=True), torch.randn(6, 8, requires_grad=True)
    negative_cosine(p, z).backward()
    assert z.grad is None
    assert p.grad is not None


def test_dino_starts_at_the_logarithm_of_the_number_of_prototypes():
    students = [torch.zeros(4, 32)] * 4
    teachers = [teacher_probabilities(torch.zeros(4, 32), torch.zeros(32), 0.04)] * 2
    assert dino(students, teachers, 0.1).item() == pytest.approx(math.log(32))
    assert entropy(torch.stack(teachers)).item() == pytest.approx(math.log(32))


def test_dino_compares_different_views_only():
    """Student and teacher agree on each view and on nothing else, so any pair of the same view would lower the loss."""
    sure = [torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]])]
    teachers = [teacher_probabilities(logits, torch.zeros(2), 0.1) for logits in sure]
    assert dino(sure, teachers, 1.0).item() == pytest.approx(9 + math.log1p(math.exp(-9)), rel=1e-5)


def test_centering_takes_off_what_all_samples_share():
    logits = torch.tensor([[5.0, 0.0], [5.0, 0.0]])
    torch.testing.assert_close(teacher_probabilities(logits, logits.mean(0), 0.04), torch.full((2, 2), 0.5))


def test_sinkhorn_of_two_images_and_two_prototypes_is_a_closed_form():
    """Scaling rows and columns keeps the odds ratio, exp((2 - 0 - 1 + 0) / t), which is then (p / (1 - p))^2."""
    p = 1 / (1 + math.exp(-1 / (2 * 0.5)))
    expected = torch.tensor([[p, 1 - p], [1 - p, p]])
    torch.testing.assert_close(sinkhorn(torch.tensor([[2.0, 0.0], [1.0, 0.0]]), 0.5, rounds=100), expected)


def test_sinkhorn_gives_images_a_whole_each_and_prototypes_equal_shares():
    shares = sinkhorn(torch.randn(32, 8, generator=torch.Generator().manual_seed(0)), 0.2, rounds=200)
    torch.testing.assert_close(shares.sum(1), torch.ones(32))
    torch.testing.assert_close(shares.sum(0), torch.full((8,), 4.0), atol=1e-3, rtol=0)


def test_sinkhorn_takes_off_what_all_samples_share_however_large():
    logits = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    favorite = torch.tensor([50.0] + [0.0] * 7)
    torch.testing.assert_close(sinkhorn(logits + favorite, 0.04), sinkhorn(logits, 0.04), atol=1e-3, rtol=0)
    assert sinkhorn(torch.zeros(4, 8), 0.04).unique().tolist() == [0.125]


def test_info_nce_starts_near_the_logarithm_of_queue_and_one():
    generator = torch.Generator().manual_seed(0)
    queries, keys, queue = (torch.randn(n, 512, generator=generator) for n in (64, 64, 1000))
    assert info_nce(queries, keys, normalize(queue, dim=1), 1.0).item() == pytest.approx(math.log(1001), abs=0.02)
    assert info_nce_in_batch(queries, keys, 1.0).item() == pytest.approx(2 * math.log(64), abs=0.03)


def test_info_nce_of_a_perfect_query_is_a_closed_form():
    eye = torch.eye(8)
    expected = -math.log(math.exp(5) / (math.exp(5) + 4))  # temperature 0.2, four orthogonal negatives
    assert info_nce(eye[:4], 7 * eye[:4], eye[4:], 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_in_batch_the_rank_says_which_keys_belong_to_the_queries():
    q, k = torch.randn(8, 16), torch.randn(8, 16)
    halves = [info_nce_in_batch(q[:4], k, 0.2, rank=0), info_nce_in_batch(q[4:], k, 0.2, rank=1)]
    torch.testing.assert_close(torch.stack(halves).mean(), info_nce_in_batch(q, k, 0.2))


def test_losses_are_computed_in_float32_under_bf16_autocast():
    q, k, n = torch.randn(3, 16, 8).unbind()
    center = torch.zeros(8)
    with torch.autocast("cpu", torch.bfloat16):
        losses = [
            info_nce(q, k, n, 0.1),
            info_nce_in_batch(q, k, 0.1),
            negative_cosine(q, k),
            dino([q, k], [teacher_probabilities(q, center, 0.1)] * 2, 0.1),
            dino([q, k], [sinkhorn(q, 0.1)] * 2, 0.1),
        ]
    assert {loss.dtype for loss in losses} == {torch.float32}


def test_prototypes_are_cosines_and_start_without_an_opinion():
    backbone = Timm("test_resnet")
    head = Prototypes(backbone.features, 64, hidden=32, bottleneck=16)
    logits = head(backbone.pool(backbone(torch.randn(8, 3, 64, 64))))
    assert logits.shape == (8, 64)
    assert logits.abs().max() <= 1.001
    assert (entropy((logits / 0.1).softmax(1)) / math.log(64)).item() > 0.5


def test_with_a_last_norm_embeddings_are_centered_from_the_start():
    head = Prototypes(Features([8], [32]), 64, hidden=32, bottleneck=16, last_norm=True)
    embeddings = []
    head.mlp.register_forward_hook(lambda module, inputs, output: embeddings.append(output))
    head(5 + torch.randn(64, 8))
    torch.testing.assert_close(embeddings[0].mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    assert sum(p.numel() for p in head.mlp[-1].parameters()) == 0


def test_equal_lightlys_for_the_same_tensors():
    loss = pytest.importorskip("lightly.loss", reason="lightly is not installed: pip install -e '.[bench]'")
    torch.manual_seed(0)
    a, b = torch.randn(2, 16, 32).unbind()
    torch.testing.assert_close(negative_cosine(a, b), loss.NegativeCosineSimilarity()(a, b), atol=1e-5, rtol=0)
    torch.testing.assert_close(nt_xent(a, b, 0.3), loss.NTXentLoss(0.3)(a, b), atol=1e-5, rtol=0)

    memory = loss.NTXentLoss(0.2, memory_bank_size=(64, 32))
    memory(a, b)  # draws the bank
    bank = memory.memory_bank.bank.clone()
    bank = bank if bank.shape == (64, 32) else bank.T
    expected = memory(a, b)
    torch.testing.assert_close(info_nce(a, b, normalize(bank, dim=1), 0.2), expected, atol=1e-5, rtol=0)

    theirs = loss.DINOLoss(output_dim=32, warmup_teacher_temp=0.04, teacher_temp=0.04, student_temp=0.1)
    students, teachers = list(torch.randn(4, 16, 32)), list(torch.randn(2, 16, 32))
    expected = theirs(teachers, students, epoch=0)
    ours = dino(students, [teacher_probabilities(t, torch.zeros(32), 0.04) for t in teachers], 0.1)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)

    from lightly.loss.swav_loss import sinkhorn as theirs

    torch.testing.assert_close(sinkhorn(a, 0.5), theirs(a, epsilon=0.5), atol=1e-5, rtol=0)

    logits, earlier = list(torch.randn(4, 16, 32) / 3), torch.randn(20, 32) / 3  # two global views, two local ones
    codes = [sinkhorn(torch.cat([view, earlier]), 0.05)[:16] for view in logits[:2]]
    expected = loss.SwaVLoss(0.1)(logits[:2], logits[2:], [earlier] * 2)
    torch.testing.assert_close(dino(logits, codes, 0.1), expected.squeeze(), atol=1e-5, rtol=1e-5)

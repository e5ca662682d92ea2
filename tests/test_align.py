import pytest
import torch
from torch import nn

from sightwave.align import Aligner, SubjectHeads
from sightwave.encoders.base import Encoder


class Flat(Encoder):
    def __init__(self, n_channels: int, n_times: int):
        super().__init__()
        self.width = n_channels * n_times

    def forward(self, eeg_BCT, subject_B):
        return eeg_BCT.flatten(1)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_the_head_of_an_absent_subject_stands_still_bit_for_bit():
    """One indexed tensor would fail here: AdamW's momentum and decay move what has no gradient."""
    head = SubjectHeads(8, 4, n_subjects=3)
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.1, weight_decay=0.1)

    def step(*subjects: int) -> None:
        optimiser.zero_grad()
        subject_B = torch.tensor(subjects).repeat(4)
        head(random(len(subject_B), 8), subject_B).square().sum().backward()
        optimiser.step()

    step(0, 1, 2)  # gives every head some momentum
    before = [[p.detach().clone() for p in m.parameters()] for m in head.maps]
    step(0, 2)
    after = [list(m.parameters()) for m in head.maps]
    moved = [not all(torch.equal(b, a) for b, a in zip(*pair, strict=True)) for pair in zip(before, after, strict=True)]
    assert moved == [True, False, True]


def test_each_trial_passes_its_own_subjects_map():
    head = SubjectHeads(5, 3, n_subjects=3)
    h_BD, subject_B = random(7, 5), torch.tensor([2, 0, 1, 0, 2, 2, 1])
    together = head(h_BD, subject_B)
    for i, s in enumerate(subject_B.tolist()):
        torch.testing.assert_close(together[i], head.maps[s](h_BD[i : i + 1])[0])


def test_the_order_of_a_batch_does_not_matter():
    head = SubjectHeads(5, 3, n_subjects=2)
    h_BD, subject_B, order = random(6, 5), torch.tensor([0, 1, 0, 1, 1, 0]), torch.tensor([5, 3, 1, 0, 2, 4])
    torch.testing.assert_close(head(h_BD[order], subject_B[order]), head(h_BD, subject_B)[order])


def test_a_shared_head_ignores_the_subject():
    head = SubjectHeads(5, 3, n_subjects=1)
    h_BD = random(4, 5)
    assert torch.equal(head(h_BD, torch.tensor([0, 1, 2, 3])), head(h_BD, torch.zeros(4, dtype=torch.int64)))
    assert len(head.maps) == 1


@pytest.mark.parametrize("n_subjects", [1, 2])
def test_an_aligner_gives_every_space_its_dimension(n_subjects):
    aligner = Aligner(Flat(3, 4), {"clip-image/x": 16, "labels": 5}, n_subjects)
    z = aligner(random(6, 3, 4), torch.tensor([0, 1] * 3))
    assert {k: tuple(v.shape) for k, v in z.items()} == {"features": (6, 12), "clip-image/x": (6, 16), "labels": (6, 5)}
    assert aligner.spaces == ["clip-image/x", "labels"]


def test_spaces_do_not_share_a_head():
    aligner = Aligner(Flat(3, 4), {"one": 5, "two": 5})
    z = aligner(random(6, 3, 4), torch.zeros(6, dtype=torch.int64))
    assert not torch.equal(z["one"], z["two"])
    z["one"].sum().backward()
    grads = [any(p.grad is not None for p in head.parameters()) for head in aligner.heads]
    assert grads == [True, False]


def test_an_aligner_without_spaces_is_the_encoder():
    eeg_BCT = random(2, 3, 4)
    z = Aligner(Flat(3, 4), {})(eeg_BCT, torch.zeros(2, dtype=torch.int64))
    assert list(z) == ["features"]
    assert torch.equal(z["features"], eeg_BCT.flatten(1))


def test_an_aligner_survives_saving():
    one, two = (Aligner(Flat(3, 4), {"a/b": 5}, 2) for _ in range(2))
    two.load_state_dict(one.state_dict())
    eeg_BCT, subject_B = random(6, 3, 4), torch.tensor([0, 1] * 3)
    assert torch.equal(one(eeg_BCT, subject_B)["a/b"], two(eeg_BCT, subject_B)["a/b"])
    assert isinstance(one, nn.Module)

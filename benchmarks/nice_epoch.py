"""Seconds per epoch of NICE's encoder: sightwave's loop and `TSConv` beside a plain PyTorch DataLoader loop.

    python benchmarks/nice_epoch.py                                   # 16,540 averaged trials, as THINGS-EEG2 has them
    python benchmarks/nice_epoch.py --trials 1000 --batch 250         # a quick look

Both sides train the same layers with the same number of weights on the same random trials: TSConv, its projector to
768, one linear head, symmetric InfoNCE with a learnt temperature, AdamW. They take turns, epoch by epoch, in one
process with the same threads; one untimed step each comes first. The features of both are compared before.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from sightwave.align import Aligner
from sightwave.encoders.nice import TSConv
from sightwave.losses.contrastive import InfoNCE
from sightwave.train import Stage, TrialSet, fit

WIDTH, SPACE = 768, "clip"


class Plain(nn.Module):
    """NICE's EEG side as its layers are listed, and a linear head."""

    def __init__(self, n_channels: int, n_times: int):
        super().__init__()
        n_pooled = (n_times - 75) // 5 + 1
        self.conv = nn.Sequential(
            nn.Conv2d(1, 40, (1, 25)), nn.AvgPool2d((1, 51), (1, 5)), nn.BatchNorm2d(40), nn.ELU(),
            nn.Conv2d(40, 40, (n_channels, 1)), nn.BatchNorm2d(40), nn.ELU(), nn.Dropout(0.5), nn.Conv2d(40, 40, 1),
        )  # fmt: skip
        self.project = nn.Linear(n_pooled * 40, WIDTH)
        self.block = nn.Sequential(nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.Dropout(0.5))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WIDTH)
        self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def features(self, eeg: Tensor) -> Tensor:
        """Return what the convolutions give, (B, 1440) for 250 times."""
        return self.conv(eeg.unsqueeze(1)).squeeze(2).transpose(1, 2).flatten(1)

    def forward(self, eeg: Tensor) -> Tensor:
        """Return embeddings, (B, 768)."""
        h = self.project(self.features(eeg))
        return self.head(self.norm(h + self.block(h)))


def plain_epoch(model: Plain, eeg: Tensor, target: Tensor, batch: int) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-4, weight_decay=1e-4)
    for x, y in DataLoader(TensorDataset(eeg, target), batch_size=batch, shuffle=True):
        logits = model.log_scale.exp() * F.normalize(model(x), dim=1) @ F.normalize(y, dim=1).T
        own = torch.arange(len(x))
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def our_epoch(aligner: Aligner, data: TrialSet, tower: nn.Module, batch: int) -> None:
    stage = Stage(losses=(partial(InfoNCE, space=SPACE),), epochs=1, batch_size=batch, lr=2e-4, weight_decay=1e-4)
    fit(aligner, [stage], data, {SPACE: tower})


def largest_difference(encoder: TSConv, plain: Plain, eeg: Tensor) -> float:
    """Give both convolutions the same weights and compare their features in training mode, without dropout."""
    theirs = list(plain.conv.state_dict().values())
    own = [p for name in ("temporal", "temporal_norm", "spatial", "spatial_norm", "mix")
           for p in getattr(encoder, name).state_dict().values()]  # fmt: skip
    projector, encoder.proj = encoder.proj, None
    with torch.no_grad():
        for a, b in zip(own, theirs, strict=True):
            b.copy_(a)
        encoder.dropout.p = plain.conv[7].p = 0.0
        difference = (encoder(eeg, torch.zeros(len(eeg))) - plain.features(eeg)).abs().max().item()
    encoder.dropout.p = plain.conv[7].p = 0.5
    encoder.proj = projector
    return difference


def main() -> None:
    ask = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    ask.add_argument("--trials", type=int, default=16540)
    ask.add_argument("--batch", type=int, default=1000)
    ask.add_argument("--epochs", type=int, default=3)
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--channels", type=int, default=63)
    ask.add_argument("--times", type=int, default=250)
    a = ask.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    eeg = np.random.default_rng(0).standard_normal((a.trials, a.channels, a.times), dtype=np.float32)
    target = torch.randn(a.trials, WIDTH)
    rows = torch.arange(a.trials)
    data, tower = TrialSet(eeg, torch.zeros_like(rows), rows), nn.Embedding.from_pretrained(target)

    encoder, plain = TSConv(a.channels, a.times, width=WIDTH), Plain(a.channels, a.times)
    difference = largest_difference(encoder, plain, torch.from_numpy(eeg[:16]))
    aligner = Aligner(encoder, {SPACE: WIDTH})
    n_ours, n_plain = (sum(p.numel() for p in m.parameters()) for m in (aligner, plain))
    if n_ours + 1 != n_plain:  # our temperature lives in the loss
        raise SystemExit(f"The two models differ: {n_ours + 1} and {n_plain} weights.")

    first = TrialSet(eeg[: a.batch], data.subject[: a.batch], data.stimulus[: a.batch])
    sides = {
        "plain PyTorch loop": (plain_epoch, (plain, torch.from_numpy(eeg), target, a.batch)),
        "sightwave": (our_epoch, (aligner, data, tower, a.batch)),
    }
    plain_epoch(plain, torch.from_numpy(first.eeg), target[: a.batch], a.batch)
    our_epoch(aligner, first, tower, a.batch)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(a.epochs):
        for name, (epoch, given) in sides.items():
            start = time.perf_counter()
            epoch(*given)
            seconds[name].append(time.perf_counter() - start)

    print(f"{a.trials} trials of {a.channels} x {a.times}, batch {a.batch}, {a.threads} threads, {n_plain:,} weights, "
          f"torch {torch.__version__}; largest difference of features {difference:.1e}")  # fmt: skip
    print(f"{'s per epoch':20}{'median':>9}{'fastest':>9}{'trials/s':>10}{'ratio':>7}")
    reference = statistics.median(seconds["plain PyTorch loop"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"{name:20}{middle:9.2f}{min(values):9.2f}{a.trials / middle:10.0f}{middle / reference:7.2f}")


if __name__ == "__main__":
    main()

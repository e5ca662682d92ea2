"""TimeBins: mean voltage in short time bins, the linear features that every network should have to beat.

Shape suffixes: B batch, C channels, T times, N bins, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape
from sightwave.errors import RecipeError, ShapeError


class TimeBins(Encoder):
    """Average each channel in equal time bins and flatten; nothing is learnt.

    With heads solved by ridge regression this is the linear decoder from evoked potentials to embeddings.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.
    n_bins : int
        Bins N. Where they cannot be equal, their lengths differ by one sample.
    window : tuple of float
        First and last part of the trial to look at, as fractions of its length: ``(0.2, 1.0)`` leaves out a
        baseline of one fifth.

    Raises
    ------
    RecipeError
        If the window is not inside (0, 1).
    ShapeError
        If there are more bins than samples.

    >>> TimeBins(2, 4, n_bins=2)(torch.tensor([[[1.0, 3, 5, 7], [0, 0, 2, 2]]]), torch.tensor([0]))
    tensor([[2., 6., 0., 2.]])
    """

    def __init__(self, n_channels: int, n_times: int, *, n_bins: int = 20, window: tuple[float, float] = (0.0, 1.0)):
        super().__init__()
        if not 0 <= window[0] < window[1] <= 1:
            raise RecipeError(f"TimeBins.window must be two fractions 0 <= first < last <= 1, got {window}.")
        start, stop = (round(f * n_times) for f in window)
        if not 1 <= n_bins <= stop - start:
            raise ShapeError(
                f"TimeBins cannot make {n_bins} bins of {stop - start} samples (window {window} of n_times = "
                f"{n_times}). Ask for fewer bins or a wider window."
            )
        edges = torch.linspace(start, stop, n_bins + 1, dtype=torch.float64).round().long()
        time = torch.arange(n_times)[:, None]
        inside_TN = ((time >= edges[:-1]) & (time < edges[1:])).float()
        self.shape, self.width = (n_channels, n_times), n_channels * n_bins
        self.mean_TN: Tensor
        self.register_buffer("mean_TN", inside_TN / inside_TN.sum(0), persistent=False)

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, C * n_bins), the bins of a channel side by side."""
        check_shape(self, eeg_BCT, self.shape)
        return (eeg_BCT @ self.mean_TN).flatten(1)

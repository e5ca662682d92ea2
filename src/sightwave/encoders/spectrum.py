"""Spectrum: Fourier coefficients of each channel within a band, the linear features of one rhythm.

Shape suffixes: B batch, C channels, T times, F coefficients, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape
from sightwave.errors import RecipeError


class Spectrum(Encoder):
    """Real and imaginary parts of the coefficients between two frequencies, under a Hann window; nothing is learnt.

    They hold all that a filter for this band would leave, in as few numbers as there can be: 2 per channel and Hz for a
    trial of one second. The window keeps what is slower than the band from leaking into it.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.
    sfreq : float
        Sampling frequency in Hz.
    l_freq, h_freq : float
        Edges in Hz, the lower one included.

    Raises
    ------
    RecipeError
        If a trial of this length has no coefficient in the band.

    >>> Spectrum(1, 100, sfreq=100.0, l_freq=8.0, h_freq=13.0).width
    10
    """

    def __init__(
        self, n_channels: int, n_times: int, *, sfreq: float = 250.0, l_freq: float = 0.0, h_freq: float = 40.0
    ):
        super().__init__()
        freqs = torch.fft.rfftfreq(n_times, 1 / sfreq)
        keep = (freqs >= l_freq - 1e-6) & (freqs < h_freq - 1e-6)
        if not keep.any():
            raise RecipeError(
                f"Spectrum: a trial of {n_times / sfreq:g} s at {sfreq:g} Hz has no coefficient from {l_freq:g} to "
                f"{h_freq:g} Hz. Take a wider band, or longer trials."
            )
        phase_TF = 2 * torch.pi * torch.arange(n_times)[:, None] * freqs[keep][None] / sfreq
        waves = torch.cat([phase_TF.cos(), phase_TF.sin()], 1) * torch.hann_window(n_times)[:, None]
        self.shape, self.width = (n_channels, n_times), n_channels * waves.shape[1]
        self.waves_TF: Tensor
        self.register_buffer("waves_TF", waves / n_times, persistent=False)

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, C * 2F), the coefficients of a channel side by side."""
        check_shape(self, eeg_BCT, self.shape)
        return (eeg_BCT @ self.waves_TF).flatten(1)

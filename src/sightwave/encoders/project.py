"""EEGProject: one linear map over all samples and one residual block, the strongest simple encoder.

Shape suffixes: B batch, C channels, T times, D features.
"""

from __future__ import annotations

from torch import Tensor, nn

from sightwave.encoders.base import Encoder
from sightwave.errors import ShapeError


class Proj(nn.Module):
    r"""Linear map, residual block, LayerNorm: the projector that most retrieval systems share.

    .. math:: h = W_1 x, \quad \mathrm{LayerNorm}(h + \mathrm{Dropout}(W_2 \, \mathrm{GELU}(h)))

    Parameters
    ----------
    n_in, width : int
        Features that come in, and that go out.
    dropout : float
        Probability of dropping a unit of the block.
    """

    def __init__(self, n_in: int, width: int, dropout: float):
        super().__init__()
        self.project = nn.Linear(n_in, width)
        self.block = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.Dropout(dropout))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Return (B, width)."""
        h_BD = self.project(x_BD)
        z_BD: Tensor = self.norm(h_BD + self.block(h_BD))
        return z_BD


class EEGProject(Encoder):
    """Flatten channels and times, then `Proj`.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.
    width : int
        Number of features D.
    dropout : float
        Of the residual block.

    References
    ----------
    Wu et al. 2025 (UBP), https://arxiv.org/abs/2503.04207.

    >>> sum(p.numel() for p in EEGProject(17, 250).parameters())
    5404672
    """

    def __init__(self, n_channels: int, n_times: int, *, width: int = 1024, dropout: float = 0.3):
        super().__init__()
        self.shape, self.width = (n_channels, n_times), width
        self.proj = Proj(n_channels * n_times, width, dropout)

    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D)."""
        check_shape(self, eeg_BCT, self.shape)
        z_BD: Tensor = self.proj(eeg_BCT.flatten(1))
        return z_BD


def check_shape(encoder: Encoder, eeg_BCT: Tensor, shape: tuple[int, int]) -> None:
    """Refuse trials of another shape than the one that an encoder was built for.

    Parameters
    ----------
    encoder : Encoder
        Named in the message.
    eeg_BCT : Tensor, shape (B, C, T)
        Trials.
    shape : tuple of int
        ``(n_channels, n_times)`` of the encoder.

    Raises
    ------
    ShapeError
        If they differ.
    """
    if eeg_BCT.ndim != 3 or eeg_BCT.shape[1:] != shape:
        raise ShapeError(
            f"{type(encoder).__name__} was built for trials of (n_channels, n_times) = {shape}, "
            f"got a batch of shape {tuple(eeg_BCT.shape)}. Build one encoder per montage and length."
        )

"""PooledConv: convolution, batch norm, ELU and mean pooling of single electrodes, in parts that fit a core's cache.

Shape suffixes: S electrodes of all trials, T times, L steps of the convolution, N electrodes and steps (S times L), K
kernel, F filters, P windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightwave.errors import ShapeError

PART = 2**19
"""Numbers of the largest array while a batch passes in parts: 2 MB; half of it and twice of it are slower."""


class PooledConv(nn.Module):
    """Convolve one electrode with all filters, normalise, activate and average in windows.

    The layers, their parameters and their order are those of::

        Conv1d(1, filters, kernel, stride, bias=False) - BatchNorm1d - ELU - AdaptiveAvgPool1d(n_windows)

    Parameters
    ----------
    n_times : int
        T.
    filters, kernel, stride, n_windows : int
        F, K, the step in samples, and P.

    Raises
    ------
    ShapeError
        If the trial is shorter than the kernel, or than so many windows.

    Notes
    -----
    The convolution of a batch of 128 trials with 122 electrodes of 500 samples takes half a gigabyte, and these layers
    pass over several such arrays. On a CPU the electrodes go through in parts instead, and the backward pass computes
    each part anew, so that nothing of that size exists. In training, batch norm ties the parts together, but its mean
    and variance follow from the mean m and covariance C of what the kernel sees, for a filter w as w'm and w'Cw, and
    with them it is one convolution with a bias. Results, gradients and running statistics equal those of the layers to
    rounding, and a training step of the whole encoder takes half the time (``benchmarks/conv_transformer.py``). A batch
    of one part, and other devices, take the layers as they are.

    >>> sum(p.numel() for p in PooledConv(500, 32, 25, 2, 10).parameters())
    864
    """

    def __init__(self, n_times: int, filters: int, kernel: int, stride: int, n_windows: int):
        super().__init__()
        n_left = (n_times - kernel) // stride + 1
        if n_times < kernel or n_left < n_windows:
            raise ShapeError(
                f"{n_windows} windows of a convolution of {kernel} samples, step {stride}, need trials of at least "
                f"{kernel + (n_windows - 1) * stride} samples, got n_times = {n_times}."
            )
        self.layers = nn.Sequential(
            nn.Conv1d(1, filters, kernel, stride, bias=False), nn.BatchNorm1d(filters), nn.ELU(),
            nn.AdaptiveAvgPool1d(n_windows),
        )  # fmt: skip
        self.kernel, self.stride, self.n_left = kernel, stride, n_left
        self.part = max(1, PART // (n_left * max(filters, kernel)))

    def forward(self, eeg_ST: Tensor) -> Tensor:
        """Return means over windows, shape (S, P, F)."""
        parts = eeg_ST.split(self.part) if eeg_ST.device.type == "cpu" else (eeg_ST,)
        if self.layers[1].training and len(parts) > 1:
            with torch.autocast("cpu", enabled=False):
                return self._train(parts)
        return torch.cat([self.layers(part[:, None]) for part in parts]).transpose(1, 2)

    def _train(self, parts: Sequence[Tensor]) -> Tensor:
        conv: Any = self.layers[0]  # torch would type what it holds as Tensor | Module
        norm: Any = self.layers[1]
        parts = [part.to(conv.weight) for part in parts]
        n = self.n_left * sum(map(len, parts))
        mean_KK = torch.stack([_Anew.apply(self._products, part) for part in parts]).sum(0) / n
        mean_K, square_KK = mean_KK[-1, :-1], mean_KK[:-1, :-1]
        weight_FK = conv.weight[:, 0].double()
        mean_F = weight_FK @ mean_K
        var_F = (weight_FK @ (square_KK - mean_K.outer(mean_K)) * weight_FK).sum(1)
        with torch.no_grad():
            norm.running_mean.lerp_(mean_F.to(norm.running_mean), norm.momentum)
            norm.running_var.lerp_(var_F.to(norm.running_var) * n / (n - 1), norm.momentum)
            norm.num_batches_tracked += 1
        scale_F = norm.weight / (var_F + norm.eps).sqrt()
        folded = (weight_FK * scale_F[:, None]).to(conv.weight), (norm.bias - mean_F * scale_F).to(norm.bias)
        return torch.cat([_Anew.apply(self._activate, part, *folded) for part in parts])

    def _patches(self, eeg_ST: Tensor) -> Tensor:
        """Return what the kernel sees, (N, K)."""
        return eeg_ST.unfold(1, self.kernel, self.stride).reshape(-1, self.kernel)

    def _products(self, eeg_ST: Tensor) -> Tensor:
        """Return sums of products of what the kernel sees, and of 1, which comes last, (K + 1, K + 1)."""
        # in float64, since a drift of large power would else drown the variance of a filter that ignores it
        u_NK = F.pad(self._patches(eeg_ST).double(), (0, 1), value=1.0)
        return u_NK.T @ u_NK

    def _activate(self, eeg_ST: Tensor, weight_FK: Tensor, bias_F: Tensor) -> Tensor:
        h_NF = F.elu(F.linear(self._patches(eeg_ST), weight_FK, bias_F), inplace=True)
        h_SPF: Tensor = self.layers[3](h_NF.unflatten(0, (-1, self.n_left)).transpose(1, 2)).transpose(1, 2)
        return h_SPF


class _Anew(torch.autograd.Function):
    """Call a function and keep only its inputs: the backward pass calls it anew. Unlike a checkpoint, it stacks."""

    generate_vmap_rule = True

    @staticmethod
    def forward(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        return function(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.function = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        inputs, wanted = ctx.saved_tensors, [i for i, need in enumerate(ctx.needs_input_grad[1:]) if need]

        def of_wanted(*some: Tensor) -> Tensor:
            return ctx.function(*(some[wanted.index(i)] if i in wanted else x for i, x in enumerate(inputs)))

        slopes = torch.func.vjp(of_wanted, *(inputs[i] for i in wanted))[1](slope)
        return None, *(slopes[wanted.index(i)] if i in wanted else None for i in range(len(inputs)))

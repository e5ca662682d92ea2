"""XdawnTangent: evoked-response covariances in the tangent space of their mean, learnt in closed form.

Shape suffixes: B batch, C channels, T times, D features, F filters (n_filters per class, class after class).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sightwave.encoders.base import Encoder
from sightwave.encoders.project import check_shape
from sightwave.errors import RecipeError

# (1 nV)^2: keeps the covariance of an empty trial positive, far below any amplifier's noise
FLOOR_V2 = 1e-18


class XdawnTangent(Encoder):
    """Spatial filters per class, covariance of filtered trial and class average, logarithm at the Riemannian mean.

    A filter finds the channels' mixture in which one class's average stands out most from everything recorded. Each
    trial is stacked upon these averages, so that its covariance also says how well it follows them in time. The
    covariances, shrunk towards a sphere, are mapped to the flat space that touches their mean.

    Nothing is learnt by gradient, and features carry none. Before `solve`, the filters pass single channels and the
    averages are zero.

    Parameters
    ----------
    n_channels, n_times : int
        Shape of a trial; the runner supplies both.
    n_classes : int
        Number of labels.
    n_filters : int
        Spatial filters per class, at most ``n_channels``.
    estimator : {"oas", "lwf", "scm"}
        Shrinkage of each trial's covariance, as pyRiemann names it.

    References
    ----------
    Rivet et al. 2009, https://doi.org/10.1109/TBME.2009.2012869 (xDAWN). Barachant et al. 2012,
    https://doi.org/10.1109/TBME.2011.2172210 (tangent space). As in pyRiemann, except that the covariance of the
    whole recording is shrunk too, so that average-referenced or few trials do not fail.

    >>> XdawnTangent(4, 231, n_filters=2).width
    36
    """

    def __init__(
        self, n_channels: int, n_times: int, *, n_classes: int = 2, n_filters: int = 2, estimator: str = "oas"
    ):
        super().__init__()
        self.shape, self.n_classes, self.estimator = (n_channels, n_times), n_classes, estimator
        self.n_filters = min(n_filters, n_channels)
        size = 2 * n_classes * self.n_filters
        self.width = size * (size + 1) // 2
        filters = torch.eye(n_channels, dtype=torch.float64)[: self.n_filters].repeat(n_classes, 1)
        self.register_buffer("filters_FC", filters)
        self.register_buffer("averages_FT", torch.zeros(len(filters), n_times, dtype=torch.float64))
        self.register_buffer("mean_2F2F", torch.eye(size, dtype=torch.float64))

    @torch.no_grad()
    def solve(self, eeg_NCT: np.ndarray, label_N: np.ndarray) -> None:
        """Learn filters, averages and the mean covariance from the training part.

        Parameters
        ----------
        eeg_NCT : ndarray, shape (n_trials, n_channels, n_times)
        label_N : ndarray of int, shape (n_trials,)
            From 0 to ``n_classes - 1``; a class without a trial keeps the filters that it had at the start.

        Raises
        ------
        RecipeError
            If a label is ``n_classes`` or more.
        """
        from pyriemann.spatialfilters import Xdawn
        from pyriemann.tangentspace import TangentSpace
        from sklearn.covariance import oas

        if label_N.max() >= self.n_classes:
            raise RecipeError(
                f"XdawnTangent was built for {self.n_classes} classes, and there are {label_N.max() + 1}: "
                f"partial(XdawnTangent, n_classes={label_N.max() + 1})."
            )
        x = np.asarray(eeg_NCT, np.float64)
        check_shape(self, torch.from_numpy(x), self.shape)
        everything = oas(x.transpose(0, 2, 1).reshape(-1, self.shape[0]))[0] + FLOOR_V2 * np.eye(self.shape[0])
        present = np.unique(label_N)
        xdawn = Xdawn(nfilter=self.n_filters, classes=list(present), baseline_cov=everything).fit(x, label_N)
        rows = (present[:, None] * self.n_filters + np.arange(self.n_filters)).ravel()
        self.get_buffer("filters_FC")[rows] = torch.from_numpy(np.ascontiguousarray(xdawn.filters_))
        self.get_buffer("averages_FT")[rows] = torch.from_numpy(np.ascontiguousarray(xdawn.evokeds_))
        mean = TangentSpace(metric="riemann").fit(self._covariances(x)).reference_
        self.get_buffer("mean_2F2F").copy_(torch.from_numpy(np.ascontiguousarray(mean)))

    @torch.no_grad()
    def forward(self, eeg_BCT: Tensor, subject_B: Tensor) -> Tensor:
        """Return features, shape (B, D), float32."""
        from pyriemann.tangentspace import TangentSpace

        check_shape(self, eeg_BCT, self.shape)
        tangent = TangentSpace(metric="riemann")
        tangent.reference_ = self.get_buffer("mean_2F2F").double().cpu().numpy()
        z = tangent.transform(self._covariances(eeg_BCT.double().cpu().numpy()))
        return torch.from_numpy(z.astype(np.float32)).to(eeg_BCT.device)

    def _covariances(self, x_BCT: np.ndarray) -> np.ndarray:
        """Covariances of averages stacked upon filtered trials, shape (B, 2F, 2F)."""
        from pyriemann.geometry.covariance import covariances_EP

        filters, averages = (self.get_buffer(b).double().cpu().numpy() for b in ("filters_FC", "averages_FT"))
        covariances = covariances_EP(filters @ x_BCT, averages, estimator=self.estimator)
        return covariances + FLOOR_V2 * np.eye(covariances.shape[-1])

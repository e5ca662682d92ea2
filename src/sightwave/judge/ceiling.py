"""The ceiling of a target space: what is reached from the true features of a picture, without any noise.

The ideal observer is a loose bound, for it reads every feature. A decoder must put them into its target space (CLIP,
labels), and learns how from the training pictures alone. The best such map tells what endless repetitions would give.

Shape suffixes: N pictures, F features, D dimensions of the target space.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Map = Callable[[np.ndarray], np.ndarray]
"""Features (N, F) -> vectors in the target space (N, D), float32."""

ALPHAS = tuple(10.0**k for k in range(-5, 3))  # ridge penalties, times the number of pictures
HIDDEN, STEPS, BATCH, RATE, SCALE = 256, 100, 256, 3e-3, 20.0
HELD_OUT = 5  # every fifth training picture chooses between the maps
FEWEST = 25  # with fewer training pictures the network has nothing to learn from


def noise_free_map(z_NF: np.ndarray, target_ND: np.ndarray, *, seed: int = 0) -> Map:
    """Learn the best map from true features to a target space.

    Ridge regression, its penalty chosen by leave-one-out; and a small network that starts from it and learns to tell
    each training picture's target from the others'. The network is kept where it ranks held-out training pictures
    better (mean reciprocal rank by cosine).

    Parameters
    ----------
    z_NF : ndarray, shape (N, F)
        Features of the training pictures, each picture once.
    target_ND : ndarray, shape (N, D)
        Their targets; equal rows, as those of one label, are one target.
    seed : int
        Of the held-out part and of the network.

    Returns
    -------
    callable
        Maps features of any pictures into the space; it guesses where the training pictures' features do not differ.
    """
    mean, spread = z_NF.mean(0), z_NF.std(0)
    spread = np.where(spread > 1e-9, spread, 1.0)

    def standard(z: np.ndarray) -> np.ndarray:
        return (z.astype(np.float64) - mean) / spread

    x, y = standard(z_NF), _unit(target_ND.astype(np.float64))
    if not np.ptp(x, axis=0).any():
        # ties count against whoever makes them, so who knows nothing guesses
        return lambda z: (y.mean(0) + 1e-6 * np.random.default_rng(seed).normal(size=(len(z), len(y.T)))).astype("f4")
    best = _ridge(x, y)
    if len(x) >= FEWEST:
        held = np.random.default_rng(seed).permutation(len(x)) % HELD_OUT == 0
        start = _ridge(x[~held], y[~held])
        linear = _rank(start(x[held]), y[held])
        if linear < 1:
            network = _network(start, x[~held], y[~held], seed)
            best = network if _rank(network(x[held]), y[held]) > linear else best
    return lambda z: best(standard(z)).astype(np.float32)


def _ridge(x: np.ndarray, y: np.ndarray) -> Map:
    from sklearn.linear_model import RidgeCV

    fitted = RidgeCV(alphas=[a * len(x) for a in ALPHAS]).fit(x, y)
    weight, bias = np.atleast_2d(fitted.coef_).T, fitted.intercept_
    return lambda z: z @ weight + bias


def _network(start: Map, x: np.ndarray, y: np.ndarray, seed: int) -> Map:
    """Add one hidden layer to a linear map and train both on the contrast between targets."""
    import torch
    from torch import nn

    from sightwave.losses.contrastive import info_nce

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        straight, bent = nn.Linear(x.shape[1], y.shape[1]), nn.Linear(x.shape[1], HIDDEN)
        out, bias = nn.Linear(HIDDEN, y.shape[1]), start(np.zeros((1, x.shape[1])))
    with torch.no_grad():
        out.weight.zero_()
        out.bias.zero_()
        straight.weight.copy_(torch.from_numpy((start(np.eye(x.shape[1])) - bias).T))
        straight.bias.copy_(torch.from_numpy(bias[0]))
    layers = nn.ModuleList([straight, bent, out])

    def forward(z: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = straight(z) + out(nn.functional.gelu(bent(z)))
        return made

    group = torch.from_numpy(np.unique(y.round(6), axis=0, return_inverse=True)[1].reshape(-1))
    x_NF, y_ND, rng = torch.from_numpy(x).float(), torch.from_numpy(y).float(), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(layers.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    for _ in range(STEPS):
        some = torch.from_numpy(rng.choice(len(x), min(BATCH, len(x)), replace=False))
        loss = info_nce(forward(x_NF[some]), y_ND[some], scale=SCALE, positives=group[some], symmetric=False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    @torch.no_grad()
    def apply(z: np.ndarray) -> np.ndarray:
        return np.asarray(forward(torch.from_numpy(z).float()).numpy())

    return apply


def _rank(made: np.ndarray, y: np.ndarray) -> float:
    """Mean reciprocal rank of each row's own target among the distinct targets, by cosine; ties count against it."""
    gallery, own = np.unique(y.round(6), axis=0, return_inverse=True)
    s = _unit(made) @ gallery.T
    return float((1 / (s >= s[np.arange(len(s)), own.reshape(-1)][:, None]).sum(1)).mean())


def _unit(v: np.ndarray) -> np.ndarray:
    return np.asarray(v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12))

"""Draw how CLIPScores of matched, mismatched and retrieved pairs of image and caption are distributed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sightwave import files
from sightwave.metrics.captions import CLIP_SCORE_WEIGHT, auc, overlap
from sightwave.report.svg import MAIN, MUTED, SECOND, figure

COLOURS = {"matched": MAIN, "mismatched": SECOND, "retrieved": MUTED}
N_BINS = 50


def draw(pairs: Mapping[str, np.ndarray], path: Path, *, title: str = "") -> None:
    """Write a PNG of the distributions, with AUC and overlap of matched and mismatched pairs.

    Parameters
    ----------
    pairs : mapping of str to ndarray, any shape
        Cosines, named ``"matched"``, ``"mismatched"`` and ``"retrieved"``.
    path : Path
    title : str
    """
    scores = {name: CLIP_SCORE_WEIGHT * cosine.ravel() for name, cosine in pairs.items()}
    low, high = min(x.min() for x in scores.values()), max(x.max() for x in scores.values())
    bins = np.linspace(low, high + 1e-6, N_BINS + 1).tolist()
    style = {"savefig.transparent": False, "savefig.facecolor": "#ffffff"}
    with figure(7, 3.6, style) as fig:
        ax = fig.subplots()
        for name, x in scores.items():
            told = f"{name}, mean {x.mean():.3f}"
            ax.hist(x, bins, density=True, histtype="step", linewidth=1.6, color=COLOURS[name], label=told,
                    linestyle=":" if name == "retrieved" else "-")  # fmt: skip
        apart = pairs["matched"], pairs["mismatched"]
        ax.set_title(f"{title}  AUC {auc(*apart):.3f}, overlap {overlap(*apart):.3f}".strip())
        ax.set_xlabel("2.5 cosine; CLIPScore takes what is below 0 as 0")
        ax.set_ylabel("density")
        ax.legend(frameon=False)
        fig.tight_layout()
        with files.replacing(path) as part:
            fig.savefig(part, format="png", dpi=140)

"""1,000 permutations of a 200-way retrieval, four metrics: the judge beside the plain loop, in one process.

    python benchmarks/permutations.py

The loop calls each metric on each permuted truth; the judge ranks all candidates once and looks ranks up. Both see the
same permutations and must give the same numbers to the last bit.
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from sightwave.judge.chance import _shuffle, exchangeable, permutation
from sightwave.metrics.retrieval import mean_reciprocal_rank, median_rank, recall_at
from sightwave.results import Predictions

METRICS = (recall_at(1), recall_at(5), median_rank, mean_reciprocal_rank)
N, N_CANDIDATES = 1000, 200


def queries(n_subjects: int) -> Predictions:
    rng, n = np.random.default_rng(0), N_CANDIDATES * n_subjects
    truth = np.tile(np.arange(N_CANDIDATES), n_subjects)
    scores = rng.normal(size=(n, N_CANDIDATES)).astype(np.float32)
    subject = np.repeat([f"{s:02d}" for s in range(1, n_subjects + 1)], N_CANDIDATES)
    events = pd.DataFrame({"subject": subject, "session": "1", "run": "1", "label": "x", "fold": "f", "seed": 0})
    return Predictions("retrieve", "1", scores, truth, np.arange(N_CANDIDATES).astype(str),
                       events.assign(stimulus=truth.astype(str)))  # fmt: skip


def loop(p: Predictions) -> np.ndarray:
    e = exchangeable(p)
    truths = _shuffle(e, N, np.random.default_rng(0))[:, e.unit]
    subject = p.events["subject"].to_numpy()
    rows = [np.flatnonzero(subject == s) for s in pd.unique(subject)]
    return np.array([[[m(p.scores[r], t[r]) for t in truths] for r in rows] for m in METRICS])


def main() -> None:
    print(f"{N:,} permutations, {N_CANDIDATES} candidates, {len(METRICS)} metrics\n")
    print(f"{'queries':>8} {'judge (s)':>10} {'loop (s)':>10} {'ratio':>7} {'identical':>10}")
    for n_subjects in (1, 2):
        p = queries(n_subjects)
        start = time.perf_counter()
        ours = permutation(p, METRICS, n=N).values[:, 1:]
        middle = time.perf_counter()
        plain = loop(p)
        end = time.perf_counter()
        judge_s, loop_s = middle - start, end - middle
        same = "yes" if np.array_equal(ours, plain) else "no"
        print(f"{len(p):>8} {judge_s:>10.3f} {loop_s:>10.3f} {loop_s / judge_s:>7.1f} {same:>10}")


if __name__ == "__main__":
    main()

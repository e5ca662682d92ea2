"""Rank 26,000 queries against 10,000 captions in 20 classes: `rank_captions` beside a plain matrix product.

    python benchmarks/caption_ranking.py [THREADS]

Both go through the same blocks. Ours also counts who scores as high as the right captions, finds the five highest, and
returns recalls and MAP: of the one caption of an image, and of the 500 captions of its class, for which every row is
sorted. The bank holds 100 captions twice. BLAS takes as many threads as its environment tells it.

Nearly all that is beyond the product is numpy's sort. On AMD's Zen 4 its AVX-512 form takes 148 us for a row of 10,000,
three times as long as its AVX2 form: NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" chooses the latter, and
results stay the same to the bit.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sightwave.metrics.captions import CHUNK_BYTES, rank_captions

N, K, D, N_CLASSES, N_TWINS = 26_000, 10_000, 512, 20, 100


def units(rng: np.random.Generator, n: int) -> np.ndarray:
    x = rng.standard_normal((n, D), np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def product(queries: np.ndarray, captions: np.ndarray) -> float:
    size = CHUNK_BYTES // (4 * K)
    return sum(float((queries[i : i + size] @ captions.T)[0, 0]) for i in range(0, len(queries), size))


def timed(work: Callable[[], Any]) -> tuple[np.ndarray, Any]:
    start = np.array([time.perf_counter(), time.process_time()])
    found = work()
    return np.array([time.perf_counter(), time.process_time()]) - start, found


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    rng = np.random.default_rng(0)
    captions, queries = units(rng, K), units(rng, N)
    captions[-N_TWINS:] = captions[:N_TWINS]
    image = np.arange(N) % K
    queries += 0.1 * captions[image]
    one = {"instance": (image, np.arange(K))}
    both = {**one, "class": (image % N_CLASSES, np.arange(K) % N_CLASSES)}
    product(queries[:100], captions)
    plain, _ = timed(lambda: product(queries, captions))
    ours, _ = timed(lambda: rank_captions(queries, captions, one, threads=threads))
    all_, found = timed(lambda: rank_captions(queries, captions, both, threads=threads))
    print(f"{N:,} queries, {K:,} captions, {D} features, {threads} thread(s) of ours\n")
    print(f"{'':<36}{'wall (s)':>9}{'ratio':>7}{'processor (s)':>15}{'ratio':>7}")
    for name, spent in (("plain product", plain), ("recalls and MAP: instance", ours), ("... and class", all_),
                        ("... beyond the product", all_ - plain)):  # fmt: skip
        ratio = spent / plain
        print(f"{name:<36}{spent[0]:>9.2f}{ratio[0]:>7.2f}{spent[1]:>15.2f}{ratio[1]:>7.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\npeak memory {peak:.2f} GB; all similarities at once would be {4 * N * K / 1e9:.2f} GB\n")
    for name in both:
        recalls = "  ".join(f"recall@{k} {(found.rank[name] <= k).mean():.4f}" for k in (1, 3, 5))
        print(f"{name:<9} {recalls}  MAP {found.average_precision[name].mean():.4f}")


if __name__ == "__main__":
    main()

"""Print efficiency of decoders against the ideal observer, by repetitions averaged. Phantom: all of it is simulated.

    python benchmarks/efficiency.py
    python benchmarks/efficiency.py --repetitions 1 4 --subjects 01

Each decoder is a recipe of the package on the demo's world with 80 test repetitions; scored is image recall@1 of 200.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace

from sightwave.decode.retrieve import Retrieve
from sightwave.house import find
from sightwave.judge.efficiency import efficiency
from sightwave.metrics.retrieval import recall_at
from sightwave.story import run

DECODERS = {"ridge": "ridge", "EEGProject": "demo", "TSConv": "nice"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, nargs="+", default=[1, 4, 16, 80])
    parser.add_argument("--subjects", nargs="+", default=["01", "02"])
    args = parser.parse_args()
    space = find("recipes", "demo").image.space
    print(f"{'phantom, image recall@1':<26}{'repetitions':>12}{'score':>9}{'ideal':>9}{'efficiency':>12}")
    for name, recipe in DECODERS.items():
        base = find("recipes", recipe).recipe
        world = replace(find("recipes", "demo").recipe.dataset, test_repetitions=max(args.repetitions))
        asked = replace(base, dataset=world, tasks=(Retrieve(space),), repetitions=tuple(args.repetitions))
        with tempfile.TemporaryDirectory() as folder:
            result = run(asked, out=folder, subjects=args.subjects, n_permutations=19, n_bootstrap=19)
        for p in result.predictions:
            row = result.scores.query("metric == 'recall@1' and subject == 'all' and repetitions == @p.repetitions")
            share = efficiency(p, recall_at(1), world.ideal)
            print(f"{name:<26}{p.repetitions:>12}{row.value.item():>9.3f}{row.ceiling.item():>9.3f}{share:>12.4f}")


if __name__ == "__main__":
    main()

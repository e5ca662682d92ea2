"""Measure wall time and peak memory of the demo, and how long ``sightwave --help`` takes to start.

python benchmarks/demo.py
python benchmarks/demo.py --smoke
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time


def timed(*args: str, env: dict[str, str] | None = None) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sightwave", *args], check=True, stdout=subprocess.DEVNULL, env=env)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="the demo's toy world")
    smoke = ["--smoke"] if parser.parse_args().smoke else []
    starts = [timed("--help") for _ in range(6)][1:]
    with tempfile.TemporaryDirectory() as folder:
        seconds = timed("demo", "--out", folder, *smoke, env=os.environ | {"SIGHTWAVE_CACHE": f"{folder}/cache"})
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"{'sightwave --help':<28} {statistics.median(starts):6.2f} s   median of {len(starts)} warm starts")
    print(f"{'sightwave demo':<28} {seconds:6.1f} s   with an empty cache; aim: at most 180 s on two cores")
    print(f"{'peak memory of the demo':<28} {peak:6.2f} GB  aim: at most 2 GB")


if __name__ == "__main__":
    main()

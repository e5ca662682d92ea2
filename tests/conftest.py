"""What all tests share: a quiet, offline, single-threaded process with a cache of its own, and small trials."""

from __future__ import annotations

import os
import tempfile

# Before numpy, torch and mne are imported anywhere. Doctests in src/ get these too: pytest loads this file first.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "MNE_DONTWRITE_HOME": "true", "MPLBACKEND": "Agg"}
_cache = tempfile.TemporaryDirectory(prefix="sightwave-tests-")
os.environ["SIGHTWAVE_CACHE"] = _cache.name

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sightwave.trials import Trials

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the real recordings; tests that read them are skipped where it is not there."""
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside this repository")
    return SHARED


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for one test; other tests share one that is thrown away at the end."""
    monkeypatch.setenv("SIGHTWAVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build_trials(
    *,
    n_subjects: int = 1,
    n_sessions: int = 1,
    n_runs: int = 1,
    n_labels: int = 2,
    n_per_label: int = 3,
    n_repetitions: int = 2,
    n_channels: int = 3,
    n_times: int = 10,
    sfreq: float = 100.0,
    tmin: float = 0.0,
    seed: int = 0,
    part: bool = False,
) -> Trials:
    """Noise in volts. Every run shows every stimulus ``n_repetitions`` times, in an order drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    stimuli = [(f"{la}{i}", la) for la in "abcdefghijklmnop"[:n_labels] for i in range(n_per_label)]
    rows = []
    for subject in range(1, n_subjects + 1):
        for session in range(1, n_sessions + 1):
            for run in range(1, n_runs + 1):
                for k in rng.permutation(len(stimuli) * n_repetitions):
                    stimulus, label = stimuli[k % len(stimuli)]
                    rows.append((f"{subject:02d}", str(session), str(run), stimulus, label))
    events = pd.DataFrame(rows, columns=["subject", "session", "run", "stimulus", "label"])
    if part:
        events["part"] = np.where(events["stimulus"].str.endswith("0"), "test", "train")
    eeg = rng.normal(0, 1e-5, (len(rows), n_channels, n_times)).astype(np.float32)
    names = tuple(f"E{i}" for i in range(1, n_channels + 1))
    return Trials(eeg, events, names, sfreq, tmin)


@pytest.fixture(scope="session")
def make_trials() -> Callable[..., Trials]:
    """`build_trials`: ``make_trials(n_subjects=2, n_runs=3)``."""
    return build_trials


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Repeat what ./check found before the tests, so that a failure there is not scrolled away."""
    checks = os.environ.get("SIGHTWAVE_CHECKS", "").strip()
    if checks:
        terminalreporter.section("style and types")
        terminalreporter.write_line(checks)

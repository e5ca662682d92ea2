"""THINGS-EEG2 as it was recorded: one continuous recording per session and part, with its trigger channel.

Flow: pictures, features -> orders of presentation -> noise + responses + triggers -> ``raw_eeg_*.npy``.

Shape suffixes: N events, C channels, S samples, K features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sightwave import files
from sightwave.errors import RecipeError
from sightwave.phantom.brain import Brain
from sightwave.phantom.features import N_FEATURES
from sightwave.phantom.layouts.common import check_counts, mark
from sightwave.phantom.layouts.things_eeg2 import _pictures

SFREQ = 1000
TARGET = 99999
"""Event code of an inserted target."""
_WORDS = (
    "Fp1 F3 F7 FT9 FC5 FC1 C3 T7 TP9 CP5 CP1 Pz P3 P7 O1 Oz O2 P4 P8 TP10 CP6 CP2 Cz C4 T8 FT10 FC6 FC2 F4 F8 Fp2 AF7 "
    "AF3 AFz F1 F5 FT7 FC3 C1 C5 TP7 CP3 P1 P5 PO7 PO3 POz PO4 PO8 P6 P2 CPz CP4 TP8 C6 C2 FC4 FT8 F6 AF8 AF4 F2 "
    "FCz"
)
RAW63 = tuple(_WORDS.split())
"""The 63 electrodes in the order of the amplifier, which is not that of the preprocessed files."""
_N_SESSIONS, _SEQUENCE, _AT_A_TIME = 4, 20, 64
_SOA, _PAUSE, _WINDOW = 200, 1500, 1000  # samples


def write_things_raw(
    out: Path, *, subjects: tuple[int, ...] = (1,), n_concepts: int = 1654, per_concept: int = 10, n_test: int = 200,
    repetitions: int = 4, test_repetitions: int = 80, signal: float = 1.4, workers: int = 1, seed: int = 0,
) -> None:  # fmt: skip
    """Write a phantom in the layout of THINGS-EEG2's raw files, ``sub-01/ses-01/raw_eeg_training.npy`` and so on.

    A file is a dict saved with numpy: ``raw_eeg_data``, 63 channels in volts and one of triggers, by samples at
    1000 Hz; ``ch_names``, ``ch_types``, ``sfreq``, ``highpass``, ``lowpass``. A trigger lasts one sample and bears the
    number of the picture, from 1 on; one in twenty is a target. ``Image_set`` is that of `write_things_eeg2`, and so is
    the plan of sessions: half of the training pictures in each, and all test pictures.

    Parameters
    ----------
    out : Path
    subjects : tuple of int
    n_concepts, per_concept, n_test : int
        Training concepts, pictures of each, and test concepts with one picture.
    repetitions, test_repetitions : int
        Over all sessions; multiples of 2 and of 4.
    signal : float
        Strength of all that depends on the picture.
    workers : int
        Processes that paint.
    seed : int
        Of brains, noise and orders.

    Raises
    ------
    RecipeError
        If a number does not fit the design.

    Notes
    -----
    Every channel has an offset of about a millivolt, as an amplifier without a high-pass has; there is no other drift.
    At full size a session's training file takes 2 GB.
    """
    check_counts("things_raw", n_concepts=n_concepts, per_concept=per_concept, n_test=n_test)
    if repetitions < 2 or repetitions % 2 or test_repetitions < 4 or test_repetitions % 4:
        raise RecipeError(
            "write_things_raw: repetitions must be a multiple of 2 and test_repetitions a multiple of 4, "
            f"got {repetitions} and {test_repetitions}."
        )
    mark(out, "THINGS-EEG2 (raw)", seed)
    parts = _pictures(out / "Image_set", n_concepts, per_concept, n_test, repetitions, test_repetitions, workers, seed)
    for subject in subjects:
        brain = Brain(subject, RAW63, float(SFREQ), _WINDOW, signal, shared_seed=seed)
        half = np.random.default_rng([seed, subject, 9]).permutation(len(parts["train"].z)) % 2
        for session in range(_N_SESSIONS):
            response_KCS = brain.responses(session)
            for k, (part, name) in enumerate((("train", "training"), ("test", "test"))):
                rows = np.flatnonzero(half == session % 2) if part == "train" else np.arange(n_test)
                n_turns = 2 if part == "train" else _N_SESSIONS
                rng = np.random.default_rng([seed, subject, session, k, 11])
                shown = rng.permutation(np.repeat(rows, parts[part].repetitions // n_turns))
                eeg_CS = _recording(brain, response_KCS, parts[part].z, shown, rng, session=session, seed=2 * seed + k)
                content = {"raw_eeg_data": eeg_CS, "ch_names": [*RAW63, "stim"], "ch_types": ["eeg"] * 63 + ["stim"],
                           "sfreq": SFREQ, "highpass": 0.01, "lowpass": 100}  # fmt: skip
                folder = out / "raw_data" / f"sub-{subject:02d}" / f"ses-{session + 1:02d}"
                files.save_pickle(folder / f"raw_eeg_{name}.npy", content, wrapped=True)


def _recording(
    brain: Brain, response_KCS: np.ndarray, z_NK: np.ndarray, shown: np.ndarray, rng: np.random.Generator, *,
    session: int, seed: int,
) -> np.ndarray:  # fmt: skip
    """One continuous recording, volts, with the trigger channel last, shape (64, S), float64."""
    code = shown + 1
    for i in range(len(code) - 1, 0, -_SEQUENCE):  # a target in every sequence
        code = np.insert(code, i, TARGET)
    sequence = np.arange(len(code)) // (_SEQUENCE + 1)
    onset = _WINDOW // 2 + np.arange(len(code)) * _SOA + sequence * _PAUSE
    n_samples = int(onset[-1]) + 2 * _WINDOW
    out_CS = np.zeros((len(RAW63) + 1, n_samples))
    # windows of noise that fade into each other: the squares of the fades add up to one, so the power is constant
    fade = np.sqrt(np.hanning(_WINDOW + 1)[:-1]).astype(np.float32)
    starts = np.arange(-_WINDOW // 2, n_samples, _WINDOW // 2)
    for i in range(0, len(starts), _AT_A_TIME):
        nothing = np.zeros((len(starts[i : i + _AT_A_TIME]), N_FEATURES), np.float32)
        noise_NCS = brain.record(nothing, seed=seed + 1000 * i, session=session, nuisances=False)
        for noise_CS, start in zip(noise_NCS - response_KCS[0], starts[i:], strict=False):
            a, b = max(start, 0), min(start + _WINDOW, n_samples)
            out_CS[:-1, a:b] += (noise_CS * fade)[:, a - start : b - start]
    for c, at in zip(code, onset, strict=True):
        if c != TARGET:
            out_CS[:-1, at : at + _WINDOW] += response_KCS[0] + np.tensordot(z_NK[c - 1], response_KCS[1:], 1)
    out_CS[:-1] += rng.normal(0, 1000, (len(RAW63), 1))
    out_CS[:-1] *= 1e-6
    out_CS[-1, onset] = code
    return out_CS

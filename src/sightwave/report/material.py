"""What a report shows besides numbers: un-picked trials at evenly spaced indices, pictures, captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightwave.results import Predictions
from sightwave.stimuli import Stimuli
from sightwave.trials import Trials

N_EXAMPLES, MOST_PICTURES = 4, 2000


def material(
    predictions: Predictions, opened: Sequence[Trials], stimuli: Stimuli
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Collect `Result.extras` and the part of `Result.data` that the page draws from.

    Parameters
    ----------
    predictions : Predictions
        Of any task at the highest number of repetitions; tells which rows belong to the first seed.
    opened : sequence of Trials
        The folds' opened test trials before any step, in the order of the predictions.
    stimuli : Stimuli

    Returns
    -------
    extras : dict of str to ndarray
        ``examples.row`` (k,), ``examples.eeg`` (k, n_channels, n_times) in the trials' unit,
        ``pictures`` (n, 64, 64, 3).
    facts : dict
        Channel names, unit, sampling; ids of the pictures; label and first caption by stimulus id.
    """
    seeds = predictions.events["seed"].to_numpy()
    first_seed = np.flatnonzero(seeds == seeds[0])
    picked = np.unique(np.linspace(0, len(first_seed) - 1, N_EXAMPLES + 2).round().astype(int)[1:-1])
    ends = np.cumsum([len(t) for t in opened])
    folds = np.searchsorted(ends, picked, side="right")
    eeg = [opened[f].eeg[i - ends[f] + len(opened[f])] for f, i in zip(folds, picked, strict=True)]
    extras = {"examples.row": first_seed[picked], "examples.eeg": np.stack(eeg).astype(np.float32)}
    like = opened[0]
    facts: dict[str, Any] = {"ch_names": list(like.ch_names), "unit": like.unit, "sfreq": like.sfreq, "tmin": like.tmin}
    shown = np.unique(np.concatenate([t.events["stimulus"].to_numpy().astype(str) for t in opened]))[:MOST_PICTURES]
    if stimuli.read is not None:
        from PIL import Image

        small = [np.asarray(Image.fromarray(stimuli.image(s)).resize((64, 64))) for s in shown]
        extras["pictures"], facts["pictures"] = np.stack(small), shown.tolist()
    facts["labels"] = {s: str(stimuli.table.at[s, "label"]) for s in shown}
    if "captions" in stimuli.table:
        facts["captions"] = {s: stimuli.captions(s)[0] for s in shown if stimuli.captions(s)}
    return extras, facts

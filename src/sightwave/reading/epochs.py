"""Trials from ``mne.Epochs``, and back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sightwave.errors import DataError
from sightwave.reading.checks import complete_events
from sightwave.trials import Trials

if TYPE_CHECKING:
    import mne


def to_epochs(trials: Trials) -> mne.EpochsArray:
    """Return the trials as ``mne.EpochsArray``, the events as metadata; `trials_of` gives the same float32 back.

    Raises
    ------
    DataError
        If the trials are not in volts, which is what MNE takes EEG to be in.
    """
    import mne

    if trials.unit != "V":
        raise DataError(f"to_epochs: the trials are in {trials.unit!r}; MNE takes EEG to be in volts.")
    codes = {name: i + 1 for i, name in enumerate(sorted(trials.events["label"].unique()))}
    # Onsets of different runs coincide, and MNE wants unique samples, so the true ones stay in the metadata.
    at = np.arange(len(trials))
    return mne.EpochsArray(
        np.asarray(trials.eeg, np.float64),
        mne.create_info(list(trials.ch_names), trials.sfreq, "eeg", verbose="error"),
        np.column_stack([at, np.zeros_like(at), trials.events["label"].map(codes).to_numpy(np.int64)]),
        trials.tmin,
        codes,
        metadata=trials.events.copy(),
        verbose="error",
    )


def trials_of(epochs: mne.BaseEpochs, *, label: str = "label", source: str = "epochs", file: str = "") -> Trials:
    """Return the good EEG channels of ``mne.Epochs`` as trials, in volts.

    Parameters
    ----------
    epochs : mne.BaseEpochs
        Its metadata become the events.
    label : str
        Column of the metadata that holds the category; without it, the names of ``event_id`` are the categories.
    source : str
        What error messages call these epochs.
    file : str
        Name of their file: goes into the events, and ``sub-``, ``ses-`` and ``run-`` in it say whose they are.

    Raises
    ------
    DataError
        If there is no good EEG channel, or no such column.
    """
    import mne

    picks = mne.pick_types(epochs.info, eeg=True, exclude="bads")
    if not len(picks):
        raise DataError(f"{source}: no good EEG channel among {', '.join(epochs.ch_names[:5])}. Set their types.")
    codes, n = epochs.events[:, 2], len(epochs.events)
    given = epochs.metadata if epochs.metadata is not None else pd.DataFrame(index=range(n))
    events = given.reset_index(drop=True).copy()
    if label in events:
        events["label"] = events[label]
    elif label != "label":
        raise DataError(
            f"{source}: the metadata have no column {label!r}; they have {', '.join(map(str, events)) or 'none'}."
        )
    else:
        names = {code: name for name, code in epochs.event_id.items()}
        events["label"] = [names.get(code, str(code)) for code in codes]
    if file:
        for column, entity in (("subject", "sub"), ("session", "ses"), ("run", "run")):
            found = re.search(rf"(?:^|_){entity}-([^_.]+?)(?=_|-epo)", file)
            if found and column not in events:
                events[column] = found.group(1)
        events["recording"] = events.get("recording", file)
        events["trial"] = events.get("trial", pd.Series([f"{file}#{i:06d}" for i in range(n)]))
        if "stimulus" not in events:
            events["stimulus"], events["stimulus_known"] = events["trial"], False
    samples = epochs.events[:, 0]
    # arrays without a recording count 0, 1, 2, ...; taken for times, all their epochs would overlap
    if "onset" not in events and n > 1 and (np.diff(samples) != 1).any():
        events["onset"] = samples / epochs.info["sfreq"]
    eeg = epochs.get_data(picks=picks, copy=False, verbose="error").astype(np.float32)
    good = tuple(epochs.ch_names[i] for i in picks)
    return Trials(eeg, complete_events(events, source), good, float(epochs.info["sfreq"]), float(epochs.tmin))

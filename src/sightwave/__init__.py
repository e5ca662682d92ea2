"""Decode what a person sees from their EEG, with no number without its doubt."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_ROOMS = {
    "trials": "Trials",
    "stimuli": "Stimuli",
    "embeddings": "Embeddings",
    "results": "Result Predictions",
    "recordings": "Recording",
    "errors": "SightwaveError",
    "datasets.phantom": "Phantom",
    "datasets.own": "Own from_epochs from_arrays write_own",
    "datasets.in_memory": "InMemory",
    "datasets.things_eeg2": "ThingsEeg2",
    "datasets.mss": "Mss",
    "datasets.cvpr40": "Cvpr40",
    "splits": "Published ByConcept ByStimulus BySession LeaveOneRunOut LeaveOneSessionOut LeaveOneSubjectOut NewImages",
    "preprocess": "Average Bandpass Baseline Crop Notch PickChannels Resample Standardise Whiten prepare_things_eeg2",
    "targets.labels": "Labels",
    "targets.clip": "ClipImage ClipText",
    "encoders.project": "EEGProject",
    "encoders.nice": "TSConv",
    "encoders.eegnet": "EEGNet",
    "encoders.time_bins": "TimeBins",
    "losses.contrastive": "InfoNCE",
    "losses.labels": "CrossEntropy",
    "train": "Stage Solve",
    "decode.classify": "Classify",
    "decode.retrieve": "Retrieve",
    "decode.probe": "Probe",
    "recipe": "Recipe",
    "story": "run audited",
    "report.page": "write",
    "house": "find load_recipe",
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import sightwave`` loads no torch."""
    if name not in _WHERE:
        raise AttributeError(f"module 'sightwave' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sightwave.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__

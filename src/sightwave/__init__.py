"""Decode what a person sees from their EEG, with no number without its doubt."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Trials": "trials", "Stimuli": "stimuli", "Embeddings": "embeddings", "Result": "results", "Predictions": "results",
    "Recording": "recordings", "Recipe": "recipe", "run": "run", "describe": "describe", "SightwaveError": "errors",
    "Stage": "train", "Solve": "train", "Phantom": "datasets.phantom", "Own": "datasets.own", "from_epochs": "datasets.own",
    "from_arrays": "datasets.own", "to_epochs": "datasets.own", "write_report": "report.page", "find": "house", "load_recipe": "house",
}  # fmt: skip

__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``import sightwave`` loads no torch."""
    if name not in _WHERE:
        raise AttributeError(f"module 'sightwave' has no attribute {name!r}")
    module = importlib.import_module(f"sightwave.{_WHERE[name]}")
    return getattr(module, "write" if name == "write_report" else name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__

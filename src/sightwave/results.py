"""Result: what a run found out, with its doubt; one folder each. The currency at the end."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.errors import DataError, MissingFile, ShapeError

SCORE_COLUMNS = (
    "task",
    "metric",
    "repetitions",
    "subject",
    "value",
    "chance",
    "low",
    "high",
    "p",
    "ceiling",
    "noise_free",
    "n_trials",
    "n_candidates",
)

FACTS = ("name", "recipe", "data", "audit", "opened", "selection", "parameters")


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one task said about every test trial: every metric, null and interval is computed from this.

    Parameters
    ----------
    task : str
        E.g. ``"classify"`` or ``"retrieve clip-image/tiny_clip"``.
    repetitions : str
        How many repetitions each test trial is the average of: ``"1"``, or e.g. ``"16"``.
    scores : ndarray, shape (n_trials, n_candidates), float32
        Higher is more likely; the same candidates for every trial.
    truth : ndarray, shape (n_trials,), int64
        Column of the right candidate.
    candidates : ndarray of str, shape (n_candidates,)
        Class names or stimulus ids.
    events : DataFrame, n_trials rows
        At least `subject`, `session`, `run`, `stimulus`, `label`, `fold`, `seed`.
    """

    task: str
    repetitions: str
    scores: np.ndarray
    truth: np.ndarray
    candidates: np.ndarray
    events: pd.DataFrame

    def __post_init__(self) -> None:
        shape = (len(self.truth), len(self.candidates))
        if self.scores.shape != shape or len(self.events) != shape[0]:
            raise ShapeError(
                f"Predictions.scores must be (n_trials, n_candidates) = {shape}, got {self.scores.shape} "
                f"with {len(self.events)} events."
            )

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, keep: np.ndarray) -> Predictions:
        """Keep trials by mask or index."""
        events = self.events.iloc[keep].reset_index(drop=True)
        return Predictions(self.task, self.repetitions, self.scores[keep], self.truth[keep], self.candidates, events)

    @classmethod
    def pool(cls, parts: Sequence[Predictions]) -> Predictions:
        """Make one of the folds' and seeds' predictions of one task.

        The candidates are the union; where a fold did not have one, its score is -inf, which ranks below everything.
        """
        candidates = np.unique(np.concatenate([p.candidates for p in parts]))
        columns = [np.searchsorted(candidates, p.candidates) for p in parts]
        scores = np.full((sum(map(len, parts)), len(candidates)), -np.inf, np.float32)
        start = 0
        for p, mine in zip(parts, columns, strict=True):
            scores[start : start + len(p), mine] = p.scores
            start += len(p)
        truth = np.concatenate([mine[p.truth] for p, mine in zip(parts, columns, strict=True)])
        times = [p.repetitions for p in parts]
        events = pd.concat([p.events for p in parts], ignore_index=True)
        return cls(parts[0].task, "/".join(dict.fromkeys(times)), scores, truth, candidates, events)


@dataclass(frozen=True, eq=False)
class Result:
    """What one run of a recipe found.

    Parameters
    ----------
    name : str
        The recipe's name.
    recipe : dict
        `describe` of the recipe: every default spelt out.
    data : dict
        Fingerprint and counts of the trials; ``"phantom": True`` when the brain is simulated.
    subjects : tuple of str
    seeds : tuple of int
    scores : DataFrame
        Columns `SCORE_COLUMNS`; `subject` is an id or ``"all"``. Values are shares
        in [0, 1] unless the metric says otherwise.
    predictions : tuple of Predictions
    audit : dict
        ``{"verdict": "PASS" | "WARN" | "FAIL", "findings": [...], "allowed": [...]}``.
    opened : int
        How often this test set has been opened so far, this time included.
    selection : str
        How the epoch was chosen, in words.
    extras : dict of str to ndarray
        Small arrays that the report draws: training curves, un-picked trials.
    weights : dict of str to dict
        What each decoder has learnt, by `weights_name`: name -> array. Kept on demand, and not read back with the rest:
        see `read_weights`.
    parameters : dict of str to int
        How many learnt: ``"encoder"``, ``"heads"``, ``"towers"``, of one seed.
    provenance : dict
        Versions, seconds, memory, command: what may differ between two runs with identical findings.
    """

    name: str
    recipe: dict[str, Any]
    data: dict[str, Any]
    subjects: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: pd.DataFrame
    predictions: tuple[Predictions, ...]
    audit: dict[str, Any]
    opened: int
    selection: str
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)

    def score(self, metric: str, *, subject: str = "all", task: str = "", repetitions: str | None = None) -> float:
        """Look up one value.

        Parameters
        ----------
        metric, subject : str
            As in `scores`; ``"all"`` is the value over all subjects.
        task : str
            A part of the task's name is enough.
        repetitions : str or None
            ``"1"`` for single trials; None when there is only one kind.

        Raises
        ------
        DataError
            Unless exactly one score fits.
        """
        s = self.scores
        keep = (s.metric == metric) & (s.subject == subject) & s.task.str.contains(task, regex=False)
        if repetitions is not None:
            keep &= s.repetitions == repetitions
        if keep.sum() != 1:
            raise DataError(
                f"{int(keep.sum())} scores fit metric={metric!r}, subject={subject!r}, task={task!r}, "
                f"repetitions={repetitions!r}; narrow or widen the question."
            )
        return float(s.value[keep].iloc[0])

    def save(self, folder: Path) -> Path:
        """Write the result as one folder, whole or not at all."""
        with files.replacing_folder(folder) as part:
            facts = {k: getattr(self, k) for k in FACTS}
            facts |= {"subjects": list(self.subjects), "seeds": list(self.seeds)}
            tensors: dict[str, np.ndarray] = {f"extra.{k}": v for k, v in self.extras.items()}
            tasks = []
            for i, p in enumerate(self.predictions):
                tensors |= {f"{i}.scores": p.scores, f"{i}.truth": p.truth}
                tasks.append({"task": p.task, "repetitions": p.repetitions, "candidates": p.candidates.tolist()})
                files.write_text(part / f"events-{i}.csv", p.events.to_csv(index=False))
            files.write_json(part / "result.json", facts | {"predictions": tasks})
            files.write_json(part / "provenance.json", self.provenance)
            files.write_text(part / "scores.csv", self.scores.to_csv(index=False))
            files.save_tensors(part / "predictions.safetensors", tensors)
            for name, arrays in self.weights.items():
                files.save_tensors(part / name, arrays)
            named = sorted(p for p in part.iterdir() if p.name != "provenance.json")
            files.write_json(part / "manifest.json", {p.name: files.sha256(p) for p in named})
        return folder

    @classmethod
    def load(cls, folder: Path) -> Result:
        """Read a result back; a missing or changed file is a `DataError` or `MissingFile` that names it."""
        folder = files.must_exist(Path(folder), "result folder")
        manifest = files.read_json(folder / "manifest.json")
        whole = isinstance(manifest, dict) and {"result.json", "scores.csv", "predictions.safetensors"} <= set(manifest)
        if not whole or any(Path(name).name != name for name in manifest):
            raise DataError(f"{folder / 'manifest.json'}: not the manifest of a result. Run it again.")
        for name, digest in manifest.items():
            if files.sha256(folder / name) != digest:
                raise DataError(
                    f"{folder / name}: changed since it was written (manifest.json has another SHA-256). Run it again."
                )
        facts = files.read_json(folder / "result.json")
        tensors, _ = files.load_tensors(folder / "predictions.safetensors")
        predictions = tuple(
            Predictions(
                t["task"],
                t["repetitions"],
                tensors[f"{i}.scores"],
                tensors[f"{i}.truth"],
                np.array(t["candidates"]),
                _table(folder / f"events-{i}.csv"),
            )
            for i, t in enumerate(facts.pop("predictions"))
        )
        scores = _table(folder / "scores.csv")
        facts |= {"subjects": tuple(facts["subjects"]), "seeds": tuple(facts["seeds"])}
        extras = {k.removeprefix("extra."): v for k, v in tensors.items() if k.startswith("extra.")}
        provenance = files.read_json(folder / "provenance.json")
        return cls(**facts, scores=scores, predictions=predictions, extras=extras, provenance=provenance)


def weights_name(fold: str, seed: int) -> str:
    """Name the file of one decoder's weights.

    >>> weights_name("sub-01 run-1/2", 0)
    'weights-sub-01-run-1-2-seed-0.safetensors'
    """
    return f"weights-{re.sub(r'[^A-Za-z0-9_-]+', '-', fold)}-seed-{seed}.safetensors"


def read_weights(folder: Path, fold: str, seed: int) -> dict[str, np.ndarray]:
    """Read the weights of one decoder from a result's folder.

    Raises
    ------
    MissingFile, DataError
        If the result was saved without weights, or has none of this fold and seed.
    """
    path = Path(folder) / weights_name(fold, seed)
    if path not in (there := _weights(folder)):
        raise MissingFile(f"No {path.name} in {folder}; there is {', '.join(p.name for p in there[:4])}.")
    return files.load_tensors(path)[0]


def spaces_learnt(folder: Path) -> set[str]:
    """List the spaces whose heads lie in a result's folder; errors as for `read_weights`."""
    names = files.load_tensors(_weights(folder)[0])[0]
    return {n.removeprefix("heads.").partition(".maps.")[0] for n in names if n.startswith("heads.")}


def _weights(folder: Path) -> list[Path]:
    there = sorted(files.must_exist(Path(folder), "result folder").glob("weights-*.safetensors"))
    if not there:
        raise MissingFile(f"{folder} holds no weights. Run that recipe again with --save-weights.")
    return there


def _table(path: Path) -> pd.DataFrame:
    text = {c: str for c in ("subject", "session", "run", "stimulus", "label", "trial", "repetitions", "fold")}
    return pd.read_csv(io.StringIO(files.read_text(path)), dtype=text, keep_default_na=False, na_values=["", "nan"])

"""MSS (OpenNeuro ds005589): single trials of 122 channels at 1 kHz, Windows paths, and onsets in milliseconds.

Flow: what each run shows -> the pictures of all runs, painted once -> `Brain.record` run by run -> files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightwave import files
from sightwave.errors import RecipeError
from sightwave.phantom.brain import Brain
from sightwave.phantom.concepts import CATEGORIES, Scene, imagine
from sightwave.phantom.confounds import add_neighbours
from sightwave.phantom.features import features
from sightwave.phantom.head import MSS122
from sightwave.phantom.layouts.common import check_counts, mark, save_pictures
from sightwave.phantom.pictures import paint_many

WINDOWS = "\\".join(("C:", "Users", "Huawei", "Desktop", "eeg_pascal_imagenet", "pic_10000_resized"))
"""Where the original lists of pictures say that the pictures are."""
_SEQUENCE, _SOA_S = 20, 0.2
_TASKS = ("lowSpeed", "rsvp")
_RESPONSE = 252  # event number of an answer


@dataclass(frozen=True, eq=False)
class _Run:
    """What one run shows: a category's number and an exemplar's number per trial, both (n_trials,)."""

    subject: int
    session: int
    task: str
    run: int
    label: np.ndarray
    exemplar: np.ndarray

    @property
    def stem(self) -> str:
        return f"sub-{self.subject:02d}_ses-{self.session:02d}_task-{self.task}_run-{self.run:02d}"

    @property
    def folder(self) -> str:
        return f"sub-{self.subject:02d}/ses-{self.session:02d}"

    @property
    def pictures(self) -> list[tuple[int, int]]:
        return list(zip(self.label.tolist(), self.exemplar.tolist(), strict=True))


def write_mss(
    out: Path, *, subjects: tuple[int, ...] = (2, 3), sessions: int = 5, runs: int = 4, trials: int = 100,
    rsvp: bool = False, rsvp_trials: int = 2000, per_class: int = 500, signal: float = 0.3, workers: int = 1,
    seed: int = 0,
) -> None:  # fmt: skip
    """Write a phantom in the layout of MSS.

    Below ``derivatives/preprocessed_data`` lies, for each run, an array (trial, 122, 500) of volts and a list of
    labels; beside it the raw side has a list of pictures with Windows paths and a table of events whose onsets are in
    milliseconds. The pictures, which the original does not distribute, are in ``images``, and ``captions.txt`` is the
    table of the course that uses this data set.

    Parameters
    ----------
    out : Path
    subjects : tuple of int
    sessions, runs, trials : int
        Of the low-speed task; categories are intermixed, and as frequent as each other when 20 divides ``trials``.
    rsvp : bool
        Write as many runs of the rapid task, too: 5 pictures a second in sequences of 20 of one category, each trial
        with the responses to its neighbours in it.
    rsvp_trials : int
        Trials of such a run, a multiple of 20.
    per_class : int
        Pictures of each category; a run repeats one only when it needs more than there are.
    signal : float
        Strength of all that depends on the picture.
    workers : int
        Processes that paint.
    seed : int
        Of brains, noise and orders; the pictures stay.

    Raises
    ------
    RecipeError
        If a number does not fit the design.

    Notes
    -----
    The original's electrode list is not published: the names behind these channels are stand-ins, and no file holds
    them. Left out: logos between the pictures, and the runs that are odd or missing in the original. A response is
    over after the window of 500 ms, so that trials reach into each other by less than real ones.
    """
    check_counts("mss", sessions=sessions, runs=runs, trials=trials, rsvp_trials=rsvp_trials, per_class=per_class)
    if rsvp_trials % _SEQUENCE:
        raise RecipeError(f"write_mss: rsvp_trials must be a multiple of {_SEQUENCE}, got {rsvp_trials}.")
    mark(out, "MSS", seed)
    size = {"lowSpeed": trials} | ({"rsvp": rsvp_trials} if rsvp else {})
    plan = [
        _plan(s, e, task, r, n, per_class, seed)
        for s in subjects for e in range(1, sessions + 1) for task, n in size.items() for r in range(1, runs + 1)
    ]  # fmt: skip
    z = _pictures(out, plan, workers)
    for subject in subjects:
        brain = Brain(subject, MSS122, 1000.0, 500, signal, shared_seed=seed)
        for run in (r for r in plan if r.subject == subject):
            _save(out, run, brain, np.stack([z[p] for p in run.pictures]), seed)


def _plan(subject: int, session: int, task: str, run: int, n: int, per_class: int, seed: int) -> _Run:
    rng = np.random.default_rng([seed, subject, session, _TASKS.index(task), run, 11])
    if task == "rsvp":
        label = np.repeat(rng.permutation(np.arange(n // _SEQUENCE) % len(CATEGORIES)), _SEQUENCE)
    else:
        label = rng.permutation(np.arange(n) % len(CATEGORIES))
    exemplar = np.empty(n, int)
    for k in np.unique(label):
        here = np.flatnonzero(label == k)
        turns = [rng.permutation(per_class) for _ in range(-(-len(here) // per_class))]
        exemplar[here] = np.concatenate(turns)[: len(here)]
    return _Run(subject, session, task, run, label, exemplar)


def _pictures(out: Path, plan: list[_Run], workers: int) -> dict[tuple[int, int], np.ndarray]:
    """Paint and write every picture that is shown, and its caption; return the features by label and exemplar."""
    shown = sorted({p for run in plan for p in run.pictures})
    scenes = [imagine(CATEGORIES[k], i) for k, i in shown]
    rgb = paint_many(scenes, workers=workers)
    save_pictures(out / "images", rgb, [f"{s.concept}/{_file(s)}" for s in scenes])
    rows = [("dataset", "category", "image name", "caption")]
    rows += [("phantom", s.concept, _file(s), s.captions[0]) for s in scenes]
    files.write_text(out / "captions.txt", "".join("\t".join(row) + "\n" for row in rows))
    return dict(zip(shown, features(scenes, rgb), strict=True))


def _file(scene: Scene) -> str:
    return f"{scene.concept}_{scene.exemplar:03d}_resized.jpg"


def _save(out: Path, run: _Run, brain: Brain, z: np.ndarray, seed: int) -> None:
    rapid = run.task == "rsvp"
    x = brain.record(z, seed=2 * run.run + rapid, session=run.session)
    if rapid:
        sequence = np.arange(len(x)) // _SEQUENCE
        add_neighbours(x, brain, z, sequence, soa_s=_SOA_S, session=run.session)
    x *= 1e-6
    done = out / "derivatives" / "preprocessed_data" / run.folder
    files.save_array(done / f"{run.stem}_1000Hz.npy", x)
    files.write_text(done / f"{run.stem}_1000Hz.json", json.dumps(run.label.tolist(), indent=2))
    raw = out / run.folder
    scenes = [imagine(CATEGORIES[k], i) for k, i in run.pictures]
    paths = [f"{WINDOWS}\\{s.concept}\\{_file(s)}" for s in scenes]
    files.write_text(raw / f"{run.stem}_image.csv", "".join(f"{line}\n" for line in ["FilePath", *paths]))
    rng = np.random.default_rng([seed, run.subject, run.session, _TASKS.index(run.task), run.run, 12])
    events = [f"{onset}\t0\t{number}\r\n" for onset, number in _events(run, rng)]
    files.write_text(raw / f"{run.stem}_events.tsv", "".join(["onset\tduration\teventnumber\r\n", *events]))


def _events(run: _Run, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield onset in ms and number: of the trial in its run, or in its sequence of the rapid task, or an answer."""
    now, rapid = int(rng.integers(4000, 12000)), run.task == "rsvp"
    for i in range(len(run.label)):
        yield now, i % _SEQUENCE + 1 if rapid else i + 1
        if not rapid:
            now += int(rng.integers(2000, 4000))
            yield now, _RESPONSE
            now += int(rng.integers(1000, 1010))
        elif i % _SEQUENCE < _SEQUENCE - 1:
            now += int(rng.integers(197, 204))
        else:
            now += 2000 + int(rng.integers(0, 1000))
            yield now, _RESPONSE
            now += 750

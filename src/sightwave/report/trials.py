"""Un-picked trials: what one trial looked like, and what the decoder made of it. Feeds the page's cards."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sightwave.report import eeg as drawing
from sightwave.report import words
from sightwave.results import Predictions, Result

N_STRIPS = 12


@dataclass(frozen=True)
class Guess:
    """One candidate among the best: its place, its words, its picture, and whether it is right."""

    rank: int
    text: str
    right: bool
    picture: str = ""
    same_words: bool = False


@dataclass(frozen=True)
class Answer:
    """What one task said about one trial.

    Parameters
    ----------
    question : words.Question
    best : list of Guess
        The nearest candidates, best first.
    true : Guess
        The right candidate, with its rank; ties count against it.
    n : int
        Number of candidates.
    """

    question: words.Question
    best: list[Guess]
    true: Guess
    n: int

    @property
    def hit(self) -> bool:
        """Whether the right candidate is among the best that are shown."""
        return any(g.right for g in self.best)


@dataclass(frozen=True)
class Strip:
    """What was shown, to whom, and what was retrieved for it."""

    label: str
    subject: str
    picture: str
    answer: Answer


@dataclass(frozen=True)
class Card:
    """Everything the page shows of one trial; markup and data addresses are ready to be placed."""

    row: int
    subject: str
    stimulus: str
    label: str
    caption: str
    repetitions: str
    picture: str = ""
    traces: str = ""
    map: str = ""
    map_note: str = ""
    peak_ms: str = ""
    answers: list[Answer] = field(default_factory=list)


def best_predictions(result: Result) -> dict[str, Predictions]:
    """Plain task -> its predictions at the highest number of repetitions."""
    best: dict[str, Predictions] = {}
    for p in result.predictions:
        if p.task not in best or words.level(p.repetitions) > words.level(best[p.task].repetitions):
            best[p.task] = p
    return words.plain(best)


def cards(result: Result) -> list[Card]:
    """Build one card per example trial that the result carries; none when it carries none.

    Parameters
    ----------
    result : Result
        ``extras["examples.row"]`` (k,) int64 points into the events of the predictions with the most repetitions;
        ``extras["examples.eeg"]`` (k, n_channels, n_times) is their EEG in ``data["unit"]``. Pictures
        (``extras["pictures"]``, ``data["pictures"]``), captions and labels are used where they are there.

    Returns
    -------
    list of Card
    """
    if "examples.row" not in result.extras or not result.predictions:
        return []
    best, pictures = best_predictions(result), picture_addresses(result)
    top = max(best.values(), key=lambda p: words.level(p.repetitions))
    best = {task: p for task, p in best.items() if p.repetitions == top.repetitions}
    rows = [int(r) for r in result.extras["examples.row"]]
    return [_card(result, i, row, top, best, pictures) for i, row in enumerate(rows) if 0 <= row < len(top)]


def strips(result: Result) -> list[Strip]:
    """Lay out what was retrieved for evenly spaced test trials of the first seed, in the first image task.

    Parameters
    ----------
    result : Result
        Without pictures, or without an image retrieval, there are none.

    Returns
    -------
    list of Strip
    """
    found = (p for task, p in best_predictions(result).items() if words.question(task).kind == "image")
    p, pictures = next(found, None), picture_addresses(result)
    if p is None or not pictures:
        return []
    first = np.flatnonzero((p.events["seed"] == p.events["seed"].iloc[0]).to_numpy())
    rows = first[np.unique(np.linspace(0, len(first) - 1, N_STRIPS).round().astype(int))]
    shown = [str(p.events["stimulus"].iloc[row]) for row in rows]
    return [
        Strip(
            _about(s, result), str(p.events["subject"].iloc[row]), pictures.get(s, ""), answer(p, row, result, pictures)
        )
        for s, row in zip(shown, map(int, rows), strict=True)
    ]


def picture_addresses(result: Result) -> dict[str, str]:
    """Stimulus id -> its picture as a ``data:`` address, where the result carries pictures."""
    from PIL import Image

    pixels, ids = result.extras.get("pictures"), result.data.get("pictures") or ()
    found = {}
    for stimulus, image in zip(ids, pixels if pixels is not None else (), strict=False):
        out = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image, dtype=np.uint8)).save(out, "JPEG", quality=90, subsampling=0)
        found[str(stimulus)] = "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
    return found


def answer(p: Predictions, row: int, result: Result, pictures: dict[str, str]) -> Answer:
    """Say what one task made of one trial: three categories, three captions or five pictures, and the right one."""
    q = words.question(p.task)
    scores, truth = np.asarray(p.scores[row], np.float64), int(p.truth[row])
    captions: dict[str, Any] = result.data.get("captions") or {}

    def guess(j: int, rank: int) -> Guess:
        key = str(p.candidates[j])
        said = (
            _caption(captions, key, key) if q.kind == "caption" else _about(key, result) if q.kind == "image" else key
        )
        twin = q.kind == "caption" and j != truth and said == _caption(captions, str(p.candidates[truth]), "")
        return Guess(rank, said, j == truth, pictures.get(key, "") if q.kind == "image" else "", twin)

    # the right one goes behind its ties, as it does in every metric
    order = np.lexsort((np.arange(len(scores)) == truth, -np.nan_to_num(scores, nan=-np.inf)))
    shown = 5 if q.kind == "image" else 3
    place = int(np.flatnonzero(order == truth)[0])
    best = [guess(int(j), i + 1) for i, j in enumerate(order[:shown])]
    return Answer(q, best, guess(truth, place + 1), len(scores))


def _card(
    result: Result, i: int, row: int, top: Predictions, best: dict[str, Predictions], pictures: dict[str, str]
) -> Card:
    event, data = top.events.iloc[row], result.data
    stimulus = str(event.get("stimulus", ""))
    drawn = _draw(result, i)
    return Card(
        row,
        str(event.get("subject", "")),
        stimulus,
        str((data.get("labels") or {}).get(stimulus, event.get("label", ""))),
        _caption(data.get("captions") or {}, stimulus, ""),
        words.average(top.repetitions),
        pictures.get(stimulus, ""),
        answers=[answer(p, row, result, pictures) for p in best.values() if row < len(p)],
        **drawn,
    )


def _draw(result: Result, i: int) -> dict[str, str]:
    eeg, data = result.extras.get("examples.eeg"), result.data
    if eeg is None or i >= len(eeg) or not np.isfinite(eeg[i]).any():
        return {}
    names: Sequence[str] = data.get("ch_names") or [f"{c + 1}" for c in range(eeg.shape[1])]
    sfreq, tmin, unit = float(data.get("sfreq") or 1.0), float(data.get("tmin") or 0.0), str(data.get("unit", "z"))
    traces, peak = drawing.butterfly(eeg[i], names, sfreq, tmin, unit)
    scalp, note = drawing.scalp(drawing.baselined(eeg[i], sfreq, tmin)[:, peak], names, unit)
    return {"traces": traces, "map": scalp, "map_note": note, "peak_ms": f"{1e3 * (tmin + peak / sfreq):.0f}"}


def _caption(captions: dict[str, Any], stimulus: str, otherwise: str) -> str:
    """One caption; of several, the first, which is the fullest."""
    said = captions.get(stimulus, otherwise)
    return str(said[0]) if isinstance(said, (list, tuple)) and said else str(said)


def _about(stimulus: str, result: Result) -> str:
    return str((result.data.get("labels") or {}).get(stimulus, stimulus))

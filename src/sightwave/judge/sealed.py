"""The sealed test: the only door to the test trials, and the ledger in which each opening stands."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from sightwave import files
from sightwave.errors import DataError
from sightwave.split import Sealed
from sightwave.trials import Trials

_FIELDS = ("utc", "run", "recipe", "test", "n_trials", "why")


def test_key(events: pd.DataFrame, data_fingerprint: str) -> str:
    """Name a test set, 16 hexadecimal digits: which trials, of which data.

    Parameters
    ----------
    events : DataFrame
        Events of the test trials, those of all folds together; their order does not matter.
    data_fingerprint : str
        `Trials.fingerprint` of the data set.
    """
    h = hashlib.sha256(data_fingerprint.encode())
    for trial in sorted(set(events["trial"].astype(str))):
        h.update(f"\0{trial}".encode())
    return h.hexdigest()[:16]


def open_test(test: Sealed, *, ledger: Path, key: str, run: str, recipe: str, why: str) -> Trials:
    """Write the opening down, then return the test trials.

    Parameters
    ----------
    test : Sealed
    ledger : Path
        File that only grows; one line of JSON per opening.
    key : str
        `test_key` of the whole test set, so that the folds of one run open the same set.
    run : str
        Identity of this run. Its folds, its seeds and its resumption count as one opening.
    recipe : str
        Key of the recipe.
    why : str
        A reason in words, e.g. ``"final score"``.

    Raises
    ------
    DataError
        If a line of the ledger is damaged: a count that cannot be trusted is not continued.
    """
    _lines(ledger)

    def witness(trials: Trials) -> None:
        facts = (datetime.now(UTC).isoformat(timespec="seconds"), run, recipe, key, len(trials), why)
        files.append_line(ledger, json.dumps(dict(zip(_FIELDS, facts, strict=True))))

    return test.break_seal(witness)


def times_opened(ledger: Path, key: str) -> int:
    """Count the distinct runs that have opened a test set; 0 when there is no ledger.

    Raises
    ------
    DataError
        Naming the damaged line.
    """
    return len({line["run"] for line in _lines(ledger) if line["test"] == key})


def _lines(ledger: Path) -> list[dict[str, object]]:
    if not ledger.exists():
        return []
    lines = []
    for i, text in enumerate(files.read_text(ledger).splitlines(), 1):
        try:
            line = json.loads(text)
        except json.JSONDecodeError as e:
            raise _damaged(ledger, i, f"not JSON ({e.msg})") from e
        missing = [f for f in _FIELDS if not isinstance(line, dict) or f not in line]
        if missing:
            raise _damaged(ledger, i, f"lacks {', '.join(missing)}")
        lines.append(line)
    return lines


def _damaged(ledger: Path, i: int, what: str) -> DataError:
    return DataError(f"{ledger}, line {i}: {what}, so how often the test set was opened is unknown. "
                     "Restore the line from a backup, or move the ledger away and start a new count.")  # fmt: skip

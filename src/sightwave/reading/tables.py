"""Tables from csv files: text or numbers, with errors that name file, line and column."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sightwave.errors import DataError
from sightwave.files import must_exist


def read_text_table(path: Path, *, sep: str = ",") -> pd.DataFrame:
    """Read a csv file with every cell as text; an empty cell is ``""``.

    Parameters
    ----------
    path : Path
    sep : str
        What stands between cells: a tab in the tables of BIDS.

    Raises
    ------
    MissingFile, DataError
        If the file is absent, empty, not UTF-8, cut short, or a line has too many cells.
    """
    return _read(path, text=True, sep=sep)


def read_number_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read ``columns`` of a csv file (or csv.gz) as float64.

    Raises
    ------
    DataError
        Besides what `read_text_table` raises: a missing column, or a cell that is no number, with line and column.
    """
    table = _read(path, text=False)
    require(table, columns, path)
    for c in columns:
        if not pd.api.types.is_numeric_dtype(table[c]) or table[c].isna().any():
            return pd.DataFrame({c: numbers(read_text_table(path), c, path) for c in columns})
    return table[list(columns)].astype(np.float64)


def require(table: pd.DataFrame, columns: Sequence[str], path: Path) -> None:
    """Raise `DataError` unless the table has all ``columns``."""
    missing = [c for c in columns if c not in table]
    if missing:
        raise DataError(
            f"{path}: line 1: no column {', '.join(map(repr, missing))}; expected {', '.join(columns)}, "
            f"got {', '.join(map(str, table))}."
        )


def numbers(table: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """Return a column of text as float64, shape (n_rows,); the first cell that is no number is a `DataError`."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(np.isnan(values))
    if len(bad):
        cell = table[column].iloc[bad[0]]
        raise DataError(
            f"{path}: line {bad[0] + 2}, column {column!r}: expected a number, got {_short(cell)} "
            f"({len(bad)} such cell{'s' * (len(bad) > 1)}). Mend or remove the line."
        )
    return table[column].astype(float).to_numpy(np.float64)  # parses to the last bit, which to_numeric does not


def refuse_empty(table: pd.DataFrame, column: str, path: Path) -> None:
    """Raise `DataError` with the first line whose cell in ``column`` is empty."""
    bad = np.flatnonzero((table[column].str.strip() == "").to_numpy())
    if len(bad):
        raise DataError(
            f"{path}: line {bad[0] + 2}, column {column!r}: the cell is empty ({len(bad)} in all). Fill it in."
        )


def _short(cell: object) -> str:
    return "an empty cell" if cell is None or cell == "" or cell is pd.NA else repr(str(cell)[:40])


def _read(path: Path, *, text: bool, sep: str = ",") -> pd.DataFrame:
    must_exist(path)
    try:
        table = pd.read_csv(
            path,
            sep=sep,
            dtype=str if text else None,
            keep_default_na=not text,
            encoding="utf-8-sig",
            index_col=False,
            low_memory=False,
            on_bad_lines="error",
        )
    except pd.errors.EmptyDataError as e:
        raise DataError(f"{path}: the file is empty; expected a csv table whose first line names the columns.") from e
    except pd.errors.ParserWarning as e:
        raise DataError(f"{path}: a line has more cells than line 1 names columns.") from e
    except pd.errors.ParserError as e:  # its text names the line: "Expected 7 fields in line 5, saw 8"
        raise DataError(f"{path}: not a csv table: {str(e).strip().rpartition('error: ')[2]}.") from e
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: byte {e.start} is not UTF-8. Save the file as UTF-8.") from e
    except (EOFError, OSError, zlib.error) as e:
        raise DataError(f"{path}: cut short or damaged ({e}). Copy the file again.") from e
    table.columns = table.columns.str.strip()
    if not len(table):
        raise DataError(f"{path}: no line below the names of the columns; expected one line per row.")
    return table.fillna("") if text else table

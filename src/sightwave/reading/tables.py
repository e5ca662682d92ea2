"""Tables from csv files and parquet: text or numbers, with errors that name file, line and column."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sightwave.errors import DataError, ExtraMissing
from sightwave.files import must_exist
from sightwave.reading.worker import in_worker


def read_text_table(path: Path, *, sep: str = ",") -> pd.DataFrame:
    """Read a csv file, or ``.parquet``, with every cell as text; an empty cell is ``""``.

    Parameters
    ----------
    path : Path
    sep : str
        What stands between cells: a tab in the tables of BIDS.

    Raises
    ------
    MissingFile, DataError
        If the file is absent, empty, not UTF-8, cut short, or a line has too many cells.
    ExtraMissing
        If it is parquet, and pyarrow is not installed.
    """
    if path.suffix == ".parquet":
        need_parquet(str(must_exist(path)))
        table: pd.DataFrame = in_worker(_parquet, path)
        if not len(table):
            raise DataError(f"{path}: the table has no row; expected one per trial.")
        return table
    return _read(path, text=True, sep=sep)


def need_parquet(what: str) -> None:
    """Raise `ExtraMissing`, which says that ``what`` needs it, unless pyarrow is installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ExtraMissing(f"{what} needs pyarrow, which is not installed:\n  pip install 'sightwave[parquet]'")


def names_of(path: Path) -> str:
    """Say where a file names its columns, where that is a line."""
    return "" if path.suffix == ".parquet" else "line 1: "


def line_of(path: Path, row: int) -> str:
    """Say where a row of a table stands in its file: the first line of a csv file names the columns."""
    return f"row {row + 1}" if path.suffix == ".parquet" else f"line {row + 2}"


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
            f"{path}: {names_of(path)}no column {', '.join(map(repr, missing))}; expected {', '.join(columns)}, "
            f"got {', '.join(map(str, table))}."
        )


def numbers(table: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    """Return a column of text as float64, shape (n_rows,); the first cell that is no number is a `DataError`."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(np.isnan(values))
    if len(bad):
        cell = table[column].iloc[bad[0]]
        raise DataError(
            f"{path}: {line_of(path, bad[0])}, column {column!r}: expected a number, got {_short(cell)} "
            f"({len(bad)} such cell{'s' * (len(bad) > 1)}). Mend or remove the line."
        )
    return table[column].astype(float).to_numpy(np.float64)  # parses to the last bit, which to_numeric does not


def refuse_empty(table: pd.DataFrame, column: str, path: Path) -> None:
    """Raise `DataError` with the first line whose cell in ``column`` is empty."""
    bad = np.flatnonzero((table[column].str.strip() == "").to_numpy())
    if len(bad):
        raise DataError(
            f"{path}: {line_of(path, bad[0])}, column {column!r}: the cell is empty ({len(bad)} in all). Fill it in."
        )


def _short(cell: object) -> str:
    return "an empty cell" if cell is None or cell == "" or cell is pd.NA else repr(str(cell)[:40])


def _parquet(path: Path) -> pd.DataFrame:
    """Turn every cell into the text that csv would hold."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        table = file.read(use_threads=False)
    columns = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        cells = values.to_pylist()
        odd = next((c for c in cells if not isinstance(c, (str, bool, int, float, type(None)))), None)
        if odd is not None:
            raise DataError(f"{path}: column {name!r} holds {type(odd).__name__}; expected text or numbers.")
        columns[str(name).strip()] = np.array(["" if c is None else str(c) for c in cells], object)
    return pd.DataFrame(columns)


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

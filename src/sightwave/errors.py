"""Every error the library raises on purpose. Catch `SightwaveError` to catch them all.

Each child is also the built-in error that a caller would expect, so ``except ValueError`` works too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SightwaveError(Exception):
    """Base class of every error that sightwave raises on purpose."""

    def __str__(self) -> str:  # KeyError shows repr(message), which hides line breaks
        return str(self.args[0]) if self.args else ""


class ShapeError(SightwaveError, ValueError):
    """An array does not have the shape that was asked for."""


class DataError(SightwaveError, ValueError):
    """A file or an array holds something that cannot be used; the message names the file and the field."""


class UnitError(DataError):
    """Voltages that cannot be volts; the message names the likely factor."""


class MissingFile(SightwaveError, FileNotFoundError):
    """A file or folder that was asked for is not there."""


class LeakError(SightwaveError, ValueError):
    """The parts of a split share what they must not share."""


class SealError(SightwaveError, RuntimeError):
    """Somebody reached for the test trials without writing it down."""


class SpaceError(SightwaveError, ValueError):
    """Two embeddings from different spaces were compared."""


class RecipeError(SightwaveError, ValueError):
    """A recipe, or an option of it, makes no sense."""


class UnknownName(SightwaveError, KeyError):
    """No component of that name lives in that room."""


class ExtraMissing(SightwaveError, ImportError):
    """An optional dependency is not installed; the message holds the command that installs it."""


class ModelMissing(SightwaveError, OSError):
    """Pretrained weights could not be had; the message says how to give a folder."""


class ResumeError(SightwaveError, RuntimeError):
    """A run cannot go on from what lies in its folder."""


def one_of(kind: str, got: str, known: Iterable[str]) -> UnknownName:
    """Build the error for a misspelt name: no ``kind`` named ``got``, but perhaps the nearest known one.

    >>> print(one_of("recipe", "dmeo", ["demo", "n170"]))
    No recipe named 'dmeo'. Did you mean 'demo'? Known: demo, n170.
    """
    got, known = str(got), sorted(known)  # numpy's text shows as np.str_('dmeo')
    near = difflib.get_close_matches(got, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownName(f"No {kind} named {got!r}.{hint} Known: {', '.join(known) or 'none'}.")

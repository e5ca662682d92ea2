"""Turn any component into plain JSON with every default spelt out: the record beside a result, and a cache's key."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np


def describe(x: Any) -> Any:
    """Describe a component as JSON: ``{"use": "module.Name", field: value, ...}``.

    Parameters
    ----------
    x : object
        A frozen dataclass, a class or ``functools.partial`` of one, a function, or plain values and arrays of them.
        Fields whose name starts with an underscore are working state and stay out.

    >>> from fractions import Fraction
    >>> describe(partial(Fraction, 1))
    {'use': 'fractions.Fraction', 'numerator': 1, 'denominator': None}
    >>> describe((1, "a", None, 0.5))
    [1, 'a', None, 0.5]
    """
    if x is None or type(x) in (str, int, float, bool):  # what lists are long of
        return x
    if isinstance(x, partial):
        given = inspect.signature(x.func).bind_partial(*x.args, **x.keywords)
        given.apply_defaults()
        known = {k: describe(v) for k, v in given.arguments.items() if not k.startswith("_")}
        return {"use": _name(x.func)} | known
    if is_dataclass(x) and not isinstance(x, type):
        known = {f.name: describe(getattr(x, f.name)) for f in fields(x) if not f.name.startswith("_")}
        return {"use": _name(type(x))} | known
    if isinstance(x, Mapping):
        return {str(k): describe(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [describe(v) for v in x]
    if isinstance(x, (set, frozenset)):
        return sorted(describe(v) for v in x)
    if isinstance(x, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()[:16]
        return {"use": "numpy.ndarray", "shape": list(x.shape), "dtype": str(x.dtype), "sha256": digest}
    if isinstance(x, type):
        return describe(partial(x)) if "__init__" in vars(x) else {"use": _name(x)}
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, Path):
        return str(x)
    if callable(x):
        return {"use": _name(x)}
    if x is None or isinstance(x, (str, int, float, bool)):
        return x
    return {"use": _name(type(x)), "is": str(x)}


def key(x: Any) -> str:
    """Content key of a component, 16 hexadecimal digits: change any field, get another key."""
    return hashlib.sha256(json.dumps(describe(x), sort_keys=True).encode()).hexdigest()[:16]


def _name(x: Any) -> str:
    return f"{x.__module__}.{getattr(x, '__qualname__', getattr(x, '__name__', type(x).__qualname__))}"

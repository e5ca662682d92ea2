"""Find a metric again by the name under which a result holds it."""

from __future__ import annotations

import re

from sightwave.errors import one_of
from sightwave.metrics import classification as c
from sightwave.metrics import retrieval as r
from sightwave.metrics.base import Metric

_PLAIN = (c.balanced_accuracy, c.f1_macro, c.cohen_kappa, c.auc, r.median_rank, r.mean_reciprocal_rank, r.assigned_at_1)
_COUNTED = {"top-": c.top_k, "recall@": r.recall_at, "oracle@": r.best_of_spaces}


def named(name: str) -> Metric:
    """Return the metric of a name, such as ``"recall@5"`` or ``"auc"``.

    Parameters
    ----------
    name : str
        As in the column `metric` of `Result.scores`.

    Raises
    ------
    UnknownName
        If it is none of this room's.

    >>> named("recall@5").__name__
    'recall@5'
    """
    found = re.fullmatch(r"(\D+)(\d+)", name)
    if found and found[1] in _COUNTED:
        return _COUNTED[found[1]](int(found[2]))
    known = {m.__name__: m for m in _PLAIN}
    if name not in known:
        raise one_of("metric", name, (*known, *(f"{k}N" for k in _COUNTED)))
    return known[name]

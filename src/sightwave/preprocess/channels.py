"""Pick channels by name or by region of the head."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from sightwave.errors import RecipeError, one_of
from sightwave.preprocess.base import Step
from sightwave.trials import Trials

_ROWS = {
    "frontal": "Fp AFp AF AFF F FFC",
    "central": "FC FCC C CCP CP CPP",
    "temporal": "FFT FT FTT T TTP TP TPP",
    "parietal": "P PPO",
    "occipital": "PO POO O OI I",
}
_REGION = {letters.lower(): region for region, rows in _ROWS.items() for letters in rows.split()}
REGIONS = (*_ROWS, "posterior")
"""Names of regions; "posterior" is parietal and occipital together, the 17 channels of THINGS-EEG2."""


def region_of(ch_name: str) -> str | None:
    """Region of a channel by its 10-05 name, e.g. "PO7"; None where the name is no place on the head.

    >>> [region_of(c) for c in ("AFz", "CP3", "TP10", "Pz", "POO9h", "E12", "EOG")]
    ['frontal', 'central', 'temporal', 'parietal', 'occipital', None, None]
    """
    found = re.fullmatch(r"([A-Za-z]+?)(z|Z|\d{1,2}h?)", ch_name)
    return _REGION.get(found[1].lower()) if found else None


@dataclass(frozen=True)
class PickChannels(Step):
    """Keep channels by name, in the order given, and by region, in the order of the data.

    Parameters
    ----------
    names : tuple of str
    regions : tuple of str
        Of `REGIONS`: the rows of the 10-05 system from the front ("frontal": Fp, AF, F) over "central" (FC, C, CP),
        "temporal" (FT, T, TP) and "parietal" (P) to "occipital" (PO, O, I), and "posterior", the last two together.

    Raises
    ------
    RecipeError
        If nothing was asked for, or no channel of the data lies in a region.
    UnknownName
        If a channel or a region is not known.
    """

    names: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.names, str) or isinstance(self.regions, str) or not (self.names or self.regions):
            raise RecipeError(
                'PickChannels takes tuples of text: names=("O1", "Oz"), regions=("occipital",) or both; '
                f"got names={self.names!r}, regions={self.regions!r}."
            )
        for region in self.regions:
            if region not in REGIONS:
                raise one_of("region", region, REGIONS)

    def apply(self, trials: Trials) -> Trials:
        """Return trials with fewer channels."""
        for name in self.names:
            if name not in trials.ch_names:
                raise one_of("channel", name, trials.ch_names)
        wanted: set[str] = set()
        for region in self.regions:
            rows = ("parietal", "occipital") if region == "posterior" else (region,)
            there = {c for c in trials.ch_names if region_of(c) in rows}
            if not there:
                raise RecipeError(
                    f"PickChannels: no channel is {region}; the data have {', '.join(trials.ch_names[:8])}, ... "
                    "Regions are known by 10-05 names such as 'PO7': rename the channels, or pick them by name."
                )
            wanted |= there
        names = tuple(dict.fromkeys((*self.names, *(c for c in trials.ch_names if c in wanted))))
        keep = [trials.ch_names.index(c) for c in names]
        return replace(trials, eeg=trials.eeg[:, keep], ch_names=names)

"""Channel names as the caps of the field write them -> the names that the rest of the package knows; and positions.

What is known is mapped, what is not known keeps its name and has no position: nothing is invented.

=================  =====================================  ==========================================================
written            becomes                                 source
=================  =====================================  ==========================================================
FP1, fpz, OZ       Fp1, Fpz, Oz                            10-05 names, Oostenveld & Praamstra 2001
T3 T4 T5 T6        T7 T8 P7 P8                             10-20 -> 10-10, Nuwer et al. 1998
``Fc5.``           FC5                                     PhysioNet's EDF pads names with dots
EEG Fp1-Ref        Fp1                                     EDF+ writes the kind before and the reference after
EEG.AF3            AF3                                     Emotiv's exports
E001 ... E128      E1 ... E128; E129 and VREF become Cz    EGI HydroCel nets of 128 and 256
A1 ... B32         Fp1 ... O2                              BioSemi's cap of 64, in its order
A1 ... A32         Fp1 ... Cz                              BioSemi's cap of 32, in its order
A1 ... D32, ...    unchanged                               BioSemi's grids of 128, 160 and 256 have their own places
=================  =====================================  ==========================================================

References
----------
Oostenveld & Praamstra 2001, https://doi.org/10.1016/S1388-2457(00)00527-7; Nuwer et al. 1998,
https://doi.org/10.1016/S0013-4694(98)00009-1; EDF+, https://www.edfplus.info/specs/edftexts.html; BioSemi's head caps,
https://www.biosemi.com/headcap.htm. Positions are those of MNE's montages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightwave.errors import DataError, one_of
from sightwave.reading.tables import numbers, read_text_table, require

TEN_FIVE = "10-05"
EMOTIV14 = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
"""The electrodes of an Emotiv EPOC, in the order in which it sends them."""
_WORDS64 = (
    "Fp1 AF7 AF3 F1 F3 F5 F7 FT7 FC5 FC3 FC1 C1 C3 C5 T7 TP7 CP5 CP3 CP1 P1 P3 P5 P7 P9 PO7 PO3 O1 Iz Oz POz Pz CPz "
    "Fpz Fp2 AF8 AF4 AFz Fz F2 F4 F6 F8 FT8 FC6 FC4 FC2 FCz Cz C2 C4 C6 T8 TP8 CP6 CP4 CP2 P2 P4 P6 P8 P10 PO8 PO4 O2"
)
_WORDS32 = (
    "Fp1 AF3 F7 F3 FC1 FC5 T7 C3 CP1 CP5 P7 P3 Pz PO3 O1 Oz O2 PO4 P4 P8 CP6 CP2 C4 T8 FC6 FC2 F4 F8 AF4 Fp2 Fz Cz"
)
_BIOSEMI64, _BIOSEMI32 = tuple(_WORDS64.split()), tuple(_WORDS32.split())
_SYNONYMS = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
# rows of the 10-05 system, from the nose to the inion
_ROWS = "N NFp Fp AFp AF AFF F FFT FFC FT FC FTT FCC T C TTP CCP TP CP TPP CPP P PPO PO POO O OI I"
_ROW = {row.upper(): row for row in _ROWS.split()}
_NAME = re.compile(rf"({'|'.join(sorted(_ROW, key=len, reverse=True))})(Z|10|[1-9])(H?)|([AM][12])")
_REFERENCES = "REF|LE|LER|AVG|AV|AR|AA|CAR|A1|A2|M1|M2|A1A2|M1M2"
_NOT_EEG = re.compile(
    r"[HVLR]?E[OCM]G\d*[LRUD]?|[HV]EO[LRUDG]?|EOG.*|ECG.*|EKG.*|EMG.*|STI.*|STATUS|TRIG.*|MARKER.*|EVENTS?|PHOTO.*|"
    r"GSR\d*|EDA|RESP.*|PLET.*|TEMP.*|PULSE.*|SPO2|ACC.*|GYRO.*|ERGO.*|EXG\d+|(DC|AUX|ANA|ERG|MISC)[\s_]?\d+|AUDIO"
)


@dataclass(frozen=True)
class Montage:
    """What a list of channel names turned out to be.

    Parameters
    ----------
    names : tuple of str
        In the same order, mapped where known.
    system : str
        "10-05", "egi", "biosemi", or "unknown" when no name was recognised.
    builtin : str or None
        Where their positions are: "10-05", or the name of a montage of MNE.
    unknown : tuple of str
        Those that kept their name because nothing is known of them.
    """

    names: tuple[str, ...]
    system: str
    builtin: str | None
    unknown: tuple[str, ...] = ()


def recognise(ch_names: Sequence[str]) -> Montage:
    """Recognise the cap from all of its names together, since "A1" is an ear in one and the vertex in another.

    Two names never become one: where "T3" and "T7" both occur, both stay.

    >>> recognise(["EEG FP1-Ref", "t3", "Fc5.", "X7"])
    Montage(names=('Fp1', 'T7', 'FC5', 'X7'), system='10-05', builtin='10-05', unknown=('X7',))
    """
    return _biosemi(ch_names) or _egi(ch_names) or _ten_five(ch_names)


def is_eeg(name: str) -> bool:
    """Whether a channel may be EEG by its name: False for eyes, heart, muscles, triggers and spare inputs.

    >>> [is_eeg(n) for n in ("Oz", "EEG 001", "EOG1", "VEOG", "Status", "EXG3")]
    [True, True, False, False, False, False]
    """
    return not _NOT_EEG.fullmatch(name.strip().upper())


def positions(ch_names: Sequence[str], montage: str | None = None) -> np.ndarray:
    """Return where the electrodes sit, from a montage of MNE.

    Parameters
    ----------
    ch_names : sequence of str
    montage : str or None
        One of ``mne.channels.get_builtin_montages()``, or "10-05"; None takes that of `recognise`.

    Returns
    -------
    ndarray, shape (n_channels, 3)
        Metres; x right, y front, z up, from the montage's own origin. NaN where no position is known.

    Raises
    ------
    UnknownName
        If MNE has no such montage.
    """
    import mne

    found = recognise(ch_names)
    where = np.full((len(ch_names), 3), np.nan)
    name, known = montage or found.builtin, mne.channels.get_builtin_montages()
    if name is None:
        return where
    if name == TEN_FIVE:
        name = "colin27_1005" if "colin27_1005" in known else "standard_1005"  # MNE 1.13 renames it
    if name not in known:
        raise one_of("montage", name, [TEN_FIVE, *known])
    places = {k.upper(): p for k, p in mne.channels.make_standard_montage(name).get_positions()["ch_pos"].items()}
    for i, (written, mapped) in enumerate(zip(ch_names, found.names, strict=True)):
        where[i] = places.get(written.upper(), places.get(mapped.upper(), where[i]))
    return where


def read_electrodes(path: Path, unit: str = "m") -> dict[str, np.ndarray]:
    """Read the measured positions of a BIDS ``electrodes.tsv``.

    Parameters
    ----------
    path : Path
    unit : {"m", "cm", "mm"}
        `EEGCoordinateUnits` of the ``coordsystem.json`` beside it.

    Returns
    -------
    dict
        Name as written -> position in metres, shape (3,), in the axes of the file. Electrodes without one are absent.

    Raises
    ------
    MissingFile, DataError
        If the file is absent, lacks a column, or holds something that is no number.
    """
    scale = {"m": 1.0, "cm": 1e-2, "mm": 1e-3}
    if unit not in scale:
        raise DataError(f"{path}: positions are in {unit!r}; expected {', '.join(scale)}. Say so in coordsystem.json.")
    table = read_text_table(path, sep="\t")
    require(table, ("name", "x", "y", "z"), path)
    measured = ~table[["x", "y", "z"]].isin(["n/a", ""]).any(axis=1).to_numpy()
    table = table[measured]
    xyz = np.stack([numbers(table, c, path) for c in ("x", "y", "z")], axis=1) * scale[unit]
    return dict(zip(table["name"], xyz, strict=True))


def _bare(name: str) -> str:
    """Return a name in capitals, without the dots, the kind before it and the reference after it."""
    bare = re.sub(r"^(EEG|IED)[\s._:-]+", "", name.strip().upper()).strip(". ")
    return re.sub(rf"[\s:-]+({_REFERENCES})$", "", bare)


def _ten_five(ch_names: Sequence[str]) -> Montage:
    """Map each name on its own, unless "A17" or "C23" among them show a grid in which "C3" is another place."""
    if sum(bool(re.fullmatch(r"[A-I](1[1-9]|2\d|3[012])", _bare(name))) for name in ch_names) >= 8:
        return Montage(tuple(ch_names), "unknown", None, tuple(ch_names))
    mapped = []
    for name in ch_names:
        bare = _bare(name)
        found = _NAME.fullmatch(_SYNONYMS.get(bare, bare))
        if found is None:
            mapped.append("")
        elif found[4]:
            mapped.append(found[4])
        else:
            mapped.append(_ROW[found[1]] + found[2].lower() + found[3].lower())
    count = Counter(mapped)
    names = tuple(m if m and count[m] == 1 else name for m, name in zip(mapped, ch_names, strict=True))
    if not any(mapped):
        return Montage(names, "unknown", None, names)
    return Montage(names, TEN_FIVE, TEN_FIVE, tuple(n for n, m in zip(names, mapped, strict=True) if not m))


def _egi(ch_names: Sequence[str]) -> Montage | None:
    """Recognise a HydroCel net of which at least three quarters are there; a few "E" and a number may be anything."""
    found = [re.fullmatch(r"E0*([1-9]\d{0,2})", n.strip().upper()) for n in ch_names]
    used = {int(m[1]) for m in found if m}
    for size in (128, 256):
        if used and max(used) <= size + 1 and len(used - {size + 1}) >= 3 * size // 4:
            names = tuple(
                "Cz" if (m and int(m[1]) == size + 1) or name.strip().upper() in ("VREF", "CZ") else
                f"E{int(m[1])}" if m else name
                for name, m in zip(ch_names, found, strict=True)
            )  # fmt: skip
            if len(set(names)) < len(names):
                return None
            other = tuple(n for n, m in zip(names, found, strict=True) if not m and n != "Cz")
            return Montage(names, "egi", f"GSN-HydroCel-{size + ('Cz' in names)}", other)
    return None


def _biosemi(ch_names: Sequence[str]) -> Montage | None:
    """Recognise letters A to H with numbers to 32: caps of 32 and 64 by all of their names, larger ones by most."""
    found = [re.fullmatch(r"([A-H])([1-9]|[12]\d|3[012])", n.strip().upper()) for n in ch_names]
    grid = [(m[1], int(m[2])) for m in found if m]
    if len(set(grid)) < len(grid) or len(grid) < 32 or max(n for _, n in grid) < 11:  # F3 and C4 are 10-20 names too
        return None
    last, other = max(letter for letter, _ in grid), tuple(n for n, m in zip(ch_names, found, strict=True) if not m)
    cap = {"A": _BIOSEMI32, "B": _BIOSEMI64}.get(last)
    if cap is not None:
        if len(grid) != len(cap) or set(other) & set(cap):
            return None
        places = [cap["AB".index(m[1]) * 32 + int(m[2]) - 1] if m else "" for m in found]
        names = tuple(place or name for place, name in zip(places, ch_names, strict=True))
        return Montage(names, "biosemi", f"biosemi{len(cap)}", other)
    size = {"D": 128, "E": 160, "H": 256}.get(last)
    if size is None or len(grid) < 3 * size // 4:
        return None
    names = tuple(f"{m[1]}{m[2]}" if m else name for m, name in zip(found, ch_names, strict=True))
    return Montage(names, "biosemi", f"biosemi{size}", other)

"""The head: how a current at a place in the brain shows at every electrode. Flow: `dipole` -> `brain.Brain`.

The lead field of 400 random dipoles in MNE's four-layer sphere is computed once by `build_head` and shipped as
``head.safetensors``, so that recording needs no MNE and is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from sightwave import files

HEAD = Path(__file__).with_name("head.safetensors")
REFERENCE = "Fz"
_WORDS = (
    "Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 FT10 T7 C5 C3 C1 Cz "
    "C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"
)
# MSS does not publish its electrode list, and CVPR40's six extra names are unknown: stand-ins on the 10-5 grid
_MORE = (
    "Fpz F9 F10 AF5 AFF1h AFF2h AFF5h AFF6h FFT7h FFC5h FFC3h FFC1h FFC2h FFC4h FFC6h FFT8h FTT7h FCC5h FCC3h FCC1h "
    "FCC2h FCC4h FCC6h FTT8h TTP7h CCP5h CCP3h CCP1h CCP2h CCP4h CCP6h TTP8h TPP7h CPP5h CPP3h CPP1h CPP2h CPP4h CPP6h "
    "TPP8h PPO9h PPO5h PPO1h PPO2h PPO6h PPO10h P9 P10 POO1 POO2 PO9 PO10 OI1h OI2h I1 Iz I2 AF1 AF2"
)
THINGS63 = tuple(_WORDS.split())
"""The 63 electrodes of THINGS-EEG2, in its order; Fz was its reference."""
POSTERIOR17 = THINGS63[46:]
"""The 17 parietal and occipital ones among them, P7 to O2."""
MSS122 = (*THINGS63, *_MORE.split())
CVPR128 = (*MSS122, "T9", "T10", "FTT9h", "FTT10h", "TPP9h", "TPP10h")


@dataclass(frozen=True, eq=False)
class Head:
    """A lead field.

    Parameters
    ----------
    gain : ndarray, shape (n_channels, n_dipoles, 3), float32
        Potential of a unit current along x, y and z, relative to the largest; infinite reference.
    place : ndarray, shape (n_dipoles, 3), float32
        Directions of the dipoles from the centre of the head, of unit length; x right, y front, z up.
    ch_names : tuple of str
        `CVPR128` and `REFERENCE`.
    where : ndarray, shape (n_channels, 3), float32
        Electrodes, in head radii.
    """

    gain: np.ndarray
    place: np.ndarray
    ch_names: tuple[str, ...]
    where: np.ndarray

    def dipole(self, place: np.ndarray, moment: np.ndarray, rows: list[int]) -> np.ndarray:
        """Potential of one dipole at the channels ``rows``, referenced to `REFERENCE`, of unit RMS over them.

        The lead field at ``place``, shape (3,), is interpolated from the dipoles around that direction.
        """
        towards = place / max(float(np.linalg.norm(place)), 1e-6)
        weight = np.exp(48 * (self.place @ towards - 1))
        column = np.tensordot(self.gain, weight / weight.sum(), (1, 0)) @ moment
        column = (column - column[self.ch_names.index(REFERENCE)])[rows]
        return np.asarray(column / np.sqrt((column**2).mean()))


@lru_cache
def load_head() -> Head:
    """Read the shipped head; it is computed anew when the file is absent, which needs MNE."""
    if not HEAD.exists():
        build_head()
    arrays, meta = files.load_tensors(HEAD)
    gain, place, where = (arrays[k].astype(np.float32) for k in ("gain", "place", "where"))
    return Head(gain, place, tuple(meta["ch_names"].split()), where)


def build_head(path: Path = HEAD, *, n_dipoles: int = 400, seed: int = 0) -> None:
    """Compute the lead field of random dipoles in MNE's four-layer sphere and save it, in about 2 s.

    The dipoles lie at 55 to 85 % of the head's radius, and not below it.
    """
    import mne

    names = [*CVPR128, REFERENCE]
    # MNE 1.13 renames standard_1005
    known = mne.channels.get_builtin_montages()
    montage = "colin27_1005" if "colin27_1005" in known else "standard_1005"
    info = mne.create_info(names, 250.0, "eeg", verbose="ERROR")
    info.set_montage(montage, verbose="ERROR")
    sphere = mne.make_sphere_model("auto", "auto", info, verbose="ERROR")
    rng = np.random.default_rng(seed)
    unit = rng.normal(size=(6 * n_dipoles, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit = unit[unit[:, 2] > -0.45][:n_dipoles]
    rr = unit * rng.uniform(0.55, 0.85, (n_dipoles, 1)) * sphere.radius + sphere["r0"]
    source = mne.setup_volume_source_space(pos={"rr": rr, "nn": unit}, sphere_units="m", verbose="ERROR")
    forward = mne.make_forward_solution(info, None, source, sphere, meg=False, mindist=0.0, verbose="ERROR")
    gain = forward["sol"]["data"].reshape(len(names), -1, 3)
    where = np.array([c["loc"][:3] for c in info["chs"]])
    arrays = {
        "gain": (gain / np.abs(gain).max()).astype(np.float16),
        "place": unit[source[0]["vertno"]].astype(np.float32),
        "where": ((where - sphere["r0"]) / sphere.radius).astype(np.float32),
    }
    files.save_tensors(path, arrays, {"ch_names": " ".join(names), "made_by": "sightwave.phantom.head.build_head"})

"""EEG of one trial as the page shows it: every channel over time, and the scalp at one moment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from sightwave.report.svg import INK, LINE, MAIN, MUTED, SECOND, SOFT, figure, markup

_MAP_CHANNELS = 8
_FEW = (MAIN, SECOND, MUTED, SOFT)


def butterfly(eeg: np.ndarray, ch_names: Sequence[str], sfreq: float, tmin: float, unit: str) -> tuple[str, int]:
    """Draw every channel of one trial, and the global field power.

    Parameters
    ----------
    eeg : ndarray, shape (n_channels, n_times)
        In ``unit``; volts are drawn in microvolts.
    ch_names : sequence of str
    sfreq : float
        Hz.
    tmin : float
        Seconds; the mean of what lies before 0 is taken off each channel.
    unit : str
        ``"V"``, or anything else for arbitrary units.

    Returns
    -------
    svg : str
    peak : int
        Sample after onset at which the global field power (standard deviation over channels) is largest.
    """
    from matplotlib.ticker import MaxNLocator

    shown, times = baselined(eeg, sfreq, tmin), 1e3 * (tmin + np.arange(eeg.shape[1]) / sfreq)
    shown = shown * (1e6 if unit == "V" else 1.0)
    power, peak = shown.std(0), field_peak(eeg, sfreq, tmin)
    with figure(6.4, 2.3) as fig:
        ax = fig.add_axes((0.08, 0.19, 0.91, 0.78))
        few = len(ch_names) <= _MAP_CHANNELS
        limit = float(np.abs(shown).max()) * 1.05 or 1.0
        ax.axhline(0, color=LINE, lw=0.8)
        if times[0] <= 0 <= times[-1]:
            ax.axvline(0, color=MUTED, lw=0.8)
        if few:
            for i, (y, name) in enumerate(zip(shown, ch_names, strict=False)):
                ax.plot(times, y, color=_FEW[i % 4], lw=1.1, label=name)
            ax.legend(
                frameon=False, ncols=4, fontsize=9, loc="upper right", handlelength=1.2, borderpad=0, columnspacing=1
            )
        else:
            back = np.array([bool(re.match(r"P?O\d|P?OZ", c.upper())) for c in ch_names])
            for rows, colour, alpha in ((~back, MUTED, 0.32), (back, SOFT, 0.9)):
                ax.plot(times, shown[rows].T, color=colour, alpha=alpha, lw=0.6)
            ax.plot(times, power, color=MAIN, lw=1.8)
            ax.axvline(times[peak], color=SECOND, lw=1.0, ls=(0, (3, 2)))
        ax.set(
            xlim=(times[0], times[-1]),
            ylim=(-limit, limit * (1.3 if few else 1)),
            xlabel="ms after onset",
            ylabel="µV" if unit == "V" else "a.u.",
        )
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.labelpad = 1
        return markup(fig, f"EEG of {len(ch_names)} channels over time."), peak


def baselined(eeg: np.ndarray, sfreq: float, tmin: float) -> np.ndarray:
    """Take each channel's mean before onset off, where at least two samples lie there.

    Parameters
    ----------
    eeg : ndarray, shape (n_channels, n_times)
    sfreq : float
        Hz.
    tmin : float
        Seconds.

    Returns
    -------
    ndarray, shape (n_channels, n_times), float64
        What is not finite is 0.
    """
    before = round(-tmin * sfreq)
    x = np.nan_to_num(eeg.astype(np.float64))
    return x - x[:, :before].mean(1, keepdims=True) if before >= 2 else x


def field_peak(eeg: np.ndarray, sfreq: float, tmin: float) -> int:
    """Find the sample at or after onset with the largest global field power.

    Parameters
    ----------
    eeg : ndarray, shape (n_channels, n_times)
    sfreq : float
        Hz.
    tmin : float
        Seconds.

    Returns
    -------
    int
    """
    onset = min(max(0, round(-tmin * sfreq)), eeg.shape[1] - 1)
    return onset + int(np.argmax(baselined(eeg, sfreq, tmin)[:, onset:].std(0)))


def scalp(values: np.ndarray, ch_names: Sequence[str], unit: str) -> tuple[str, str]:
    """Draw a scalp map of one moment.

    Parameters
    ----------
    values : ndarray, shape (n_channels,)
        In ``unit``.

    Returns
    -------
    svg : str
        Empty when there is no map.
    note : str
        The scale of the colours, or why there is no map.
    """
    import mne

    montage = _montage()
    known = {c.upper(): c for c in montage.ch_names}
    keep = [i for i, c in enumerate(ch_names) if c.upper() in known]
    if len(keep) < _MAP_CHANNELS:
        have = "has" if len(keep) == 1 else "have"
        why = f"{len(keep)} of {len(ch_names)} channels {have} a known 10-05 position, {_MAP_CHANNELS} are needed"
        return "", f"No scalp map: {why}."
    info = mne.create_info([known[ch_names[i].upper()] for i in keep], 100.0, "eeg", verbose="error")
    info.set_montage(montage, verbose="error")
    shown = np.asarray(values, np.float64)[keep] * (1e6 if unit == "V" else 1.0)
    top = float(np.abs(shown).max()) or 1.0
    # MNE draws the head in the colour of the axes, and the sensors at the size of any marker
    with figure(1.6, 1.75, {"axes.edgecolor": INK, "lines.markersize": 1.6}) as fig:
        ax = fig.add_axes((0.03, 0.03, 0.94, 0.94))
        mne.viz.plot_topomap(
            shown,
            info,
            axes=ax,
            show=False,
            cmap="RdBu_r",
            vlim=(-top, top),
            contours=4,
            res=96,
            sensors="k.",
            sphere=None,
            size=1,
        )
        svg = markup(fig, "Scalp map at the peak of the global field power.", dpi=120)
    return svg, f"±{top:.3g} {'µV' if unit == 'V' else 'a.u.'}"


@cache
def _montage() -> Any:
    """10-05 positions, under the name that this version of MNE knows without a warning."""
    import mne

    known = mne.channels.get_builtin_montages()
    return mne.channels.make_standard_montage("colin27_1005" if "colin27_1005" in known else "standard_1005")

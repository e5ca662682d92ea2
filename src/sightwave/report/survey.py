"""What is known of a folder of EEG: as lines for the terminal, and as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sightwave import files
from sightwave.report.svg import INK, LINE, MAIN, MUTED, SECOND, SOFT, figure
from sightwave.trials import COLUMNS, PLURAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLAT, NOISY = 0.1, 4.0
"""A channel is flat or noisy whose typical standard deviation is less or more than so many times that of the others."""
MAX_ROWS, MAP_CHANNELS, HEAD = 12, 8, 0.095
COLOURS = ("#0a5f9e", "#c25a05", "#2e8b57", "#8e44ad", "#b8860b", "#c0392b", "#17a2b8", "#7f8c8d", "#d16ba5", "#4b6a2f")


@dataclass(frozen=True, eq=False)
class Survey:
    """What was found in a folder.

    Parameters
    ----------
    folder : str
    recognised : str
        The data set, and how its reader was set.
    also : tuple of str
        Other tasks or variants in the same folder.
    citation, licence : str
    phantom : bool
    subjects, read : tuple of str
        Those that are there, and those whose signals were read for this.
    events : DataFrame
        Of all trials that were read.
    ch_names : tuple of str, length n_channels
    channels_known : bool
        False when the names are ours.
    places : ndarray, shape (n_channels, 2)
        Seen from above, nose up, within a circle of radius `HEAD`; NaN where unknown.
    n_times : int
    sfreq, tmin : float
    unit : str
    evoked, sd : mapping of str to ndarray, shape (n_channels, n_times) and (n_channels,)
        By subject: mean of the trials that were looked at, and the median over these trials of each channel's standard
        deviation within one.
    looked_at : int
        How many trials these two are of.
    order : str
        What the order of the labels gives away, in words.
    blocked : bool
    timed : bool
        Whether the order of presentation is known.
    pictures, captions : bool
    left_out, wrong : mapping of str to str
        File or subject -> why it is not used; subject -> why it cannot be read.
    fingerprint : str
    """

    folder: str
    recognised: str
    also: tuple[str, ...]
    citation: str
    licence: str
    phantom: bool
    subjects: tuple[str, ...]
    read: tuple[str, ...]
    events: pd.DataFrame
    ch_names: tuple[str, ...]
    channels_known: bool
    places: np.ndarray
    n_times: int
    sfreq: float
    tmin: float
    unit: str
    evoked: Mapping[str, np.ndarray]
    sd: Mapping[str, np.ndarray]
    looked_at: int
    order: str
    blocked: bool
    timed: bool
    pictures: bool
    captions: bool
    fingerprint: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)

    @property
    def times(self) -> np.ndarray:
        """Milliseconds after onset, shape (n_times,)."""
        return 1e3 * (self.tmin + np.arange(self.n_times) / self.sfreq)

    def odd_channels(self) -> dict[str, list[str]]:
        """Return which channels stand out, and in whom: "flat" or "noisy" -> names such as "Cz (02)"."""
        found: dict[str, list[str]] = {"flat": [], "noisy": []}
        for subject, sd in self.sd.items():
            typical = float(np.median(sd[sd > 0])) if (sd > 0).any() else 1.0
            for name, own in zip(self.ch_names, sd, strict=True):
                kind = "flat" if own < FLAT * typical else "noisy" if own > NOISY * typical else ""
                if kind:
                    found[kind].append(f"{name} ({subject})" if len(self.sd) > 1 else name)
        return found


def lines(s: Survey) -> list[tuple[str, str]]:
    """Return name and value of everything that a reader of a folder asks first, in that order.

    Parameters
    ----------
    s : Survey
    """
    e = s.events
    low, high = s.times[0], s.times[-1]
    told = [("recognised", s.recognised), *[("also here", a) for a in s.also], ("cite", s.citation),
            ("licence", s.licence), *[("phantom", "yes: the brain is simulated")] * s.phantom,
            ("subjects", f"{len(s.subjects)}: {some(s.subjects, 12)}")]  # fmt: skip
    if len(s.read) < len(s.subjects):
        others = "; --all reads the others too" if len(s.read) + len(s.wrong) < len(s.subjects) else ""
        told.append(("read", f"{len(s.read)} of {len(s.subjects)} subjects: {some(s.read, 12)}. What follows is of "
                             f"these alone{others}"))  # fmt: skip
    sessions = e[["subject", "session"]].drop_duplicates()
    runs = e[["subject", "session", "run"]].drop_duplicates()
    told += [
        ("sessions", f"{len(sessions)} ({span(sessions.groupby('subject').size())} a subject)"),
        ("runs", f"{len(runs)} ({span(runs.groupby(['subject', 'session']).size())} a session)"),
        ("trials", f"{len(e):,} ({span(e.groupby('subject').size())} a subject)"),
        ("channels", f"{len(s.ch_names)}: {some(s.ch_names, 8)}" + "" if s.channels_known else
         f"{len(s.ch_names)}, not named in the publication; called {s.ch_names[0]} to {s.ch_names[-1]}"),
        ("rate", f"{s.sfreq:g} Hz, {s.n_times} samples from {low:.0f} to {high:.0f} ms"),
        ("unit", _unit(s)),
        ("categories", f"{e['label'].nunique()}: {some(sorted(e['label'].unique()), 8)}; "
                       f"{span(e.groupby('label').size())} trials each"),
        *[("pictures", text) for text in _repetitions(e)],
        ("images", "yes" if s.pictures else "none"),
        ("captions", "yes" if s.captions else "none"),
        ("label order", s.order),
    ]  # fmt: skip
    for kind, names in s.odd_channels().items():
        told += [(f"{kind} channels", some(names, 8))] if names else []
    told.append(("fingerprint", s.fingerprint))
    return told


def span(counts: pd.Series[int]) -> str:
    """Write counts as one number, or as the smallest and the largest.

    >>> span(pd.Series([4, 4])), span(pd.Series([3, 1200]))
    ('4', '3 to 1,200')
    """
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def some(names: Sequence[str], n: int) -> str:
    """Write a list, and how many are not written.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    return ", ".join(map(str, names[:n])) + (f" and {len(names) - n:,} more" if len(names) > n else "")


def _unit(s: Survey) -> str:
    sd = float(np.median(np.stack(list(s.sd.values()))))
    if s.unit == "V":
        return f"V; a channel's typical standard deviation is {1e6 * sd:.1f} µV"
    return f"none: standardised or whitened, or not published; a typical standard deviation is {sd:.2g}"


def _repetitions(events: pd.DataFrame) -> list[str]:
    """How often each picture was shown to a subject, part by part."""
    if "stimulus_known" in events and not events["stimulus_known"].astype(bool).any():
        return ["which picture a trial showed is not known"]
    told = []
    parts = {str(p): rows for p, rows in events.groupby("part", sort=False)} if "part" in events else {"": events}
    for part, rows in parts.items():
        shown = rows.groupby(["subject", "stimulus"]).size()
        if "n_averaged" in rows:
            shown = rows.groupby(["subject", "stimulus"])["n_averaged"].sum()
        times = "once" if (shown == 1).all() else f"{span(shown)} times"
        averaged = ", averaged" if "n_averaged" in rows and (rows["n_averaged"] > 1).any() else ""
        told.append(f"{rows['stimulus'].nunique():,}{f' in {part}' if part else ''}, each {times} to a "
                    f"subject{averaged}")  # fmt: skip
    return told


# ---- the picture


def draw(s: Survey, path: Path) -> None:
    """Draw evoked responses, label order and channel quality on one page, as PNG.

    Responses are drawn less their mean before onset: raw recordings stand at offsets of millivolts.

    Parameters
    ----------
    s : Survey
    path : Path
    """
    style = {"savefig.transparent": False, "savefig.facecolor": "#ffffff", "font.size": 9, "lines.markersize": 2}
    with figure(12, 8.5, style) as fig:
        _head(fig, s)
        mean = np.mean(list(s.evoked.values()), axis=0) * (1e6 if s.unit == "V" else 1.0)
        before = int((s.times < 0).sum())
        mean = mean - mean[:, :before].mean(1, keepdims=True) if before >= 2 else mean
        unit = "µV" if s.unit == "V" else "a.u."
        peak = _butterfly(fig, s, mean, unit)
        _image(fig, s, mean, unit)
        if np.isfinite(s.places).all(1).sum() >= MAP_CHANNELS:
            _maps(fig, s, mean[:, peak], s.times[peak], unit)
        else:
            _bars(fig, s, unit)
        _strips(fig, s)
        with files.replacing(path) as part:
            fig.savefig(part, format="png", dpi=140)


def _head(fig: Figure, s: Survey) -> None:
    fig.text(0.045, 0.962, Path(s.folder).name or s.folder, fontsize=15, weight="bold")
    n = {c: s.events[list(COLUMNS[: i + 1])].drop_duplicates().shape[0] for i, c in enumerate(COLUMNS[:3])}
    counts = ", ".join(f"{k} {c if k == 1 else PLURAL[c]}" for c, k in n.items())
    read = f" (of {len(s.subjects)} that are there)" if len(s.read) < len(s.subjects) else ""
    fig.text(
        0.045, 0.934, f"{s.recognised}:  {counts}{read}, {len(s.events):,} trials, {len(s.ch_names)} channels, "
        f"{s.sfreq:g} Hz, {s.events['label'].nunique()} categories", color=MUTED,
    )  # fmt: skip
    if s.phantom:
        fig.text(0.965, 0.962, "PHANTOM: the brain is simulated", ha="right", color=SECOND, weight="bold", fontsize=11)
    fig.text(0.965, 0.934, f"fingerprint {s.fingerprint}", ha="right", color=MUTED, fontsize=8)


def _title(fig: Figure, left: float, right: float, y: float, text: str, note: str = "") -> None:
    """Write a title at the left and a note at the right end of a line, wherever the axes end."""
    fig.text(left, y, text, fontsize=10, color=INK, weight="bold")
    fig.text(right, y, note, fontsize=8.5, color=MUTED, ha="right")


def _butterfly(fig: Figure, s: Survey, mean: np.ndarray, unit: str) -> int:
    """Draw all channels and the field power; return the sample at which that peaks."""
    ax = fig.add_axes((0.06, 0.655, 0.5, 0.235))
    power = mean.std(0)
    start = min(int((s.times < 0).sum()), s.n_times - 1)
    peak = start + int(np.argmax(power[start:]))
    limit = 1.08 * float(np.abs(mean).max()) or 1.0
    ax.plot(s.times, mean.T, color=SOFT, lw=0.6, alpha=0.75)
    ax.plot(s.times, power, color=MAIN, lw=2.2)
    if s.times[0] <= 0 <= s.times[-1]:
        ax.axvline(0, color=MUTED, lw=0.8)
    ax.axvline(s.times[peak], color=SECOND, lw=1, ls=(0, (3, 2)))
    side = "left" if s.times[peak] < s.times.mean() else "right"
    ax.annotate(f"{s.times[peak]:.0f} ms", (s.times[peak], limit), (4 if side == "left" else -4, -3), ha=side, va="top",
                textcoords="offset points", color=SECOND)  # fmt: skip
    ax.set(xlim=(s.times[0], s.times[-1]), ylim=(-limit, limit), ylabel=unit)
    ax.tick_params(labelbottom=False)
    who = f"{len(s.evoked)} subjects" if len(s.evoked) > 1 else f"subject {s.read[0]}"
    _title(fig, 0.06, 0.56, 0.9, "Evoked response", f"mean of {s.looked_at:,} trials, {who}; dark: global field power")
    return peak


def _image(fig: Figure, s: Survey, mean: np.ndarray, unit: str) -> None:
    """Draw channels over time as colours, from front to back where places are known."""
    ax = fig.add_axes((0.06, 0.385, 0.5, 0.245))
    known = np.isfinite(s.places).all(1)
    order = np.argsort(np.where(known, -s.places[:, 1], np.inf), kind="stable")
    limit = float(np.percentile(np.abs(mean), 99.5)) or 1.0
    step = (s.times[-1] - s.times[0]) / max(1, s.n_times - 1) / 2
    extent = (s.times[0] - step, s.times[-1] + step, len(order) - 0.5, -0.5)
    shown = ax.imshow(mean[order], aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent,
                      interpolation="nearest")  # fmt: skip
    ticks = np.unique(np.linspace(0, len(order) - 1, min(len(order), 16)).round().astype(int))
    ax.set_yticks(ticks, [s.ch_names[order[i]] for i in ticks], fontsize=7.5)
    ax.tick_params(length=0)
    ax.set_xlabel("ms after onset", labelpad=2)
    if s.times[0] <= 0 <= s.times[-1]:
        ax.axvline(0, color=MUTED, lw=0.8)
    bar = fig.colorbar(shown, cax=fig.add_axes((0.567, 0.385, 0.008, 0.245)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, length=0)
    bar.ax.set_title(unit, fontsize=7.5, color=MUTED, pad=3)


def _marked(s: Survey) -> dict[int, str]:
    """Channel -> "flat" or "noisy", in whomever it is."""
    odd = s.odd_channels()
    return {i: kind for kind, names in odd.items() for i, c in enumerate(s.ch_names)
            if any(n == c or n.startswith(f"{c} (") for n in names)}  # fmt: skip


def _maps(fig: Figure, s: Survey, evoked: np.ndarray, ms: float, unit: str) -> None:
    """Draw two heads: the response at its peak, and how large each channel's signal is."""
    import mne

    keep = np.isfinite(s.places).all(1)
    ax = fig.add_axes((0.645, 0.605, 0.315, 0.28))
    top = float(np.abs(evoked[keep]).max()) or 1.0
    mne.viz.plot_topomap(evoked[keep], s.places[keep], axes=ax, show=False, cmap="RdBu_r", vlim=(-top, top),
                         contours=4, sensors="k.", sphere=(0, 0, 0, HEAD), extrapolate="head")  # fmt: skip
    _title(fig, 0.645, 0.96, 0.9, f"Response at {ms:.0f} ms", f"±{top:.3g} {unit}")
    ax = fig.add_axes((0.645, 0.335, 0.275, 0.23))
    sd = np.mean(list(s.sd.values()), axis=0) * (1e6 if s.unit == "V" else 1.0)
    angle = np.linspace(0, 2 * np.pi, 100)
    ax.plot(HEAD * np.cos(angle), HEAD * np.sin(angle), color=LINE, lw=1.5)
    ax.plot([-0.012, 0, 0.012], [HEAD, 1.13 * HEAD, HEAD], color=LINE, lw=1.5)
    low, high = np.percentile(sd[keep], [2, 98])
    x, y = s.places[keep].T
    dots = ax.scatter(x, y, 34, sd[keep], cmap="viridis", vmin=low, vmax=max(high, 1.05 * low), lw=0)
    marked = _marked(s)
    for i, kind in marked.items():
        if keep[i]:
            ax.plot(*s.places[i], "o", ms=10, mfc="none", mec=SECOND, mew=1.6)
            ax.annotate(f"{s.ch_names[i]} {kind}", s.places[i], (7, 5), textcoords="offset points", color=SECOND,
                        fontsize=8)  # fmt: skip
    ax.set(aspect="equal", xlim=(-0.13, 0.13), ylim=(-0.1, 0.112))
    ax.axis("off")
    bar = fig.colorbar(dots, cax=fig.add_axes((0.93, 0.36, 0.008, 0.17)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, length=0)
    bar.ax.set_title(unit, fontsize=7.5, color=MUTED, pad=3)
    _title(fig, 0.645, 0.96, 0.575, "Channel quality", "typical standard deviation" + "; none odd" * (not marked))


def _bars(fig: Figure, s: Survey, unit: str) -> None:
    """Draw how large each channel's signal is, where no place on the head is known."""
    ax = fig.add_axes((0.645, 0.385, 0.315, 0.505))
    sd = np.mean(list(s.sd.values()), axis=0) * (1e6 if s.unit == "V" else 1.0)
    marked, at = _marked(s), np.arange(len(sd))
    ax.barh(at, sd, height=0.8, color=[SECOND if i in marked else SOFT for i in at])
    for i, kind in marked.items():
        ax.annotate(f"{s.ch_names[i]} {kind}", (sd[i], i), (4, 0), textcoords="offset points", va="center",
                    color=SECOND, fontsize=8)  # fmt: skip
    if len(s.sd) > 1:
        for one in s.sd.values():
            ax.plot(one * (1e6 if s.unit == "V" else 1.0), at, ".", color=MAIN, ms=2, alpha=0.6)
    ticks = np.unique(np.linspace(0, len(sd) - 1, min(len(sd), 24)).round().astype(int))
    ax.set_yticks(ticks, [s.ch_names[i] for i in ticks], fontsize=7.5)
    ax.set(ylim=(max(len(sd), 12) - 0.4, -0.6), xlabel=f"typical standard deviation, {unit}")
    why = "no positions known" if not s.channels_known or not np.isfinite(s.places).any() else "too few for a head"
    _title(fig, 0.645, 0.96, 0.9, "Channel quality", f"{why}{'; dots: subjects' if len(s.sd) > 1 else ''}")


def _strips(fig: Figure, s: Survey) -> None:
    """Draw the label of each trial along the recording, one row a run."""
    e = s.events
    if s.timed and "onset" in e:
        e = e.sort_values("onset", kind="stable")
    runs = list(e.groupby(["subject", "session", "run"], sort=True))
    shown = [runs[i] for i in np.unique(np.linspace(0, len(runs) - 1, min(MAX_ROWS, len(runs))).round().astype(int))]
    names = sorted(e["label"].unique())
    code = {name: i for i, name in enumerate(names)}
    colours = _colours(len(names))
    if not s.timed:
        colours = 0.4 * colours + 0.6  # the order of a file is no finding
    widest = max(len(rows) for _, rows in shown)
    picture = np.ones((len(shown), widest, 3))
    for i, (_, rows) in enumerate(shown):
        picture[i, : len(rows)] = colours[rows["label"].map(code).to_numpy()]
    ax = fig.add_axes((0.155, 0.075, 0.805, 0.195))
    ax.imshow(picture, aspect="auto", interpolation="nearest", extent=(0.5, widest + 0.5, len(shown) - 0.5, -0.5))
    ax.set_yticks(range(len(shown)), ["  ".join(_who(key, e)) for key, _ in shown], fontsize=8)
    ax.hlines(np.arange(len(shown) - 1) + 0.5, 0.5, widest + 0.5, color="#ffffff", lw=3 if len(shown) > 1 else 0)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(
        "trial, in order of presentation" if s.timed else "trial, in order of the file, not of presentation", labelpad=1
    )
    few = f"{len(shown)} of {len(runs)} runs; " if len(shown) < len(runs) else ""
    _title(fig, 0.06, 0.96, 0.306, "Label order", f"{few}one colour a category")
    fig.text(0.06, 0.283, s.order, color=SECOND if s.blocked else MUTED, fontsize=8.5)
    if len(names) <= len(COLOURS):
        x = 0.06
        for name, colour in zip(names, colours, strict=True):
            fig.text(x, 0.014, f"■ {name}", color=colour, fontsize=8.5)
            x += 0.025 + 0.0058 * len(name)


def _who(key: Any, events: pd.DataFrame) -> list[str]:
    """Name a run by what tells it from the others."""
    tells = [c for c in COLUMNS[:3] if events[c].nunique() > 1] or ["subject"]
    return [
        f"{c[:3]} {v if len(v) < 10 else '…' + v[-8:]}" for c, v in zip(COLUMNS[:3], key, strict=True) if c in tells
    ]


def _colours(n: int) -> np.ndarray:
    """Return n colours as red, green and blue, shape (n, 3)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if n <= len(COLOURS):
        return np.array([to_rgb(c) for c in COLOURS[:n]])
    return np.asarray(colormaps["turbo"](np.linspace(0.03, 0.97, n)))[:, :3]

"""The phantom on one sheet: its pictures with depth and edges, sources on a head, evoked response and scalp maps.

Flow: `pictures`, `brain.Brain` -> `draw` -> a PNG file, for ``sightwave phantom show``.

Shape suffixes: C channels, K features (one source each), T times, G directions that are tried.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sightwave import files
from sightwave.phantom.brain import Brain
from sightwave.phantom.concepts import CATEGORIES, Scene, imagine, nameless
from sightwave.phantom.features import LEVELS
from sightwave.phantom.head import load_head
from sightwave.phantom.pictures import paint, paint_maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE = "#1b2128", "#5d6874", "#c9d0d8"
COLOURS = {"early": "#0a5f9e", "mid": "#d9730d", "semantic": "#7a4fa3"}  # told apart by every kind of colour vision
MAPS_MS = (60, 90, 120, 170, 220, 290, 360, 450)
_STYLE: Any = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9, "text.color": INK,
    "text.parse_math": False, "axes.edgecolor": LINE, "axes.labelcolor": MUTED, "axes.labelsize": 9,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.color": LINE, "ytick.color": LINE,
    "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5,
}  # fmt: skip
_DEPTH = 0.72  # where a source is drawn, in head radii: the lead field's dipoles lie at 0.55 to 0.85
_REACH = 1.36  # the rim of a map lies so many times as far from the vertex as the middle of the head is low


def draw(path: Path, *, subject: int = 1, seed: int = 0) -> None:
    """Write one picture, 1,680 x 2,010 pixels, that shows what the phantom sees and how its brain answers.

    Parameters
    ----------
    path : Path
        A PNG file.
    subject : int
        Whose brain.
    seed : int
        Another seed, another species of brains; the pictures stay.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    brain = Brain(subject, shared_seed=seed)
    with matplotlib.rc_context(_STYLE):
        fig = Figure(figsize=(14, 16.75), dpi=120, facecolor="white")
        FigureCanvasAgg(fig)
        fig.text(0.04, 0.977, "phantom: a seer whose brain we know", fontsize=21, fontweight="bold", va="center")
        says = f"Nobody was recorded: pictures, sources and EEG are simulated. Subject {subject:02d}, seed {seed}."
        fig.text(0.04, 0.958, says, fontsize=11, color=MUTED, va="center")
        _pictures(fig)
        _sources(fig, brain)
        _evoked(fig, brain)
        _maps(fig, brain)
        with files.replacing(path) as part:
            fig.savefig(part, format="png", metadata={"Software": None})


def locate(columns_KC: np.ndarray, ch_names: Sequence[str], *, n_directions: int = 1000) -> np.ndarray:
    """Find where sources lie from how they show at the electrodes: the noise-free dipole fit.

    Parameters
    ----------
    columns_KC : ndarray, shape (K, C)
        One scalp map per source, `head.REFERENCE` as reference.
    ch_names : sequence of str
    n_directions : int
        Directions from the centre of the head that are tried, spread evenly.

    Returns
    -------
    ndarray, shape (K, 3)
        Unit vectors; x right, y front, z up.
    """
    head = load_head()
    rows = [head.ch_names.index(c) for c in ch_names]
    z = 1 - (np.arange(n_directions) + 0.5) * 1.6 / n_directions
    turn, flat = np.pi * (1 + 5**0.5) * np.arange(n_directions), np.sqrt(1 - z**2)
    place_G3 = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], 1)
    field = np.stack([[head.dipole(place, axis, rows) for axis in np.eye(3)] for place in place_G3])
    basis_G3C = np.linalg.qr(field.transpose(0, 2, 1))[0].transpose(0, 2, 1)
    explained_GK = ((basis_G3C @ columns_KC.T) ** 2).sum(1)
    return np.asarray(place_G3[explained_GK.argmax(0)])


def _title(fig: Figure, x: float, y: float, letter: str, title: str, says: str = "") -> None:
    fig.text(x, y, letter, fontsize=13, fontweight="bold", va="baseline")
    fig.text(x + 0.016, y, title, fontsize=12, fontweight="bold", va="baseline")
    if says:
        fig.text(x + 0.016, y - 0.0125, says, fontsize=9, color=MUTED, va="baseline")


# -- pictures


def _pictures(fig: Figure) -> None:
    _title(fig, 0.04, 0.928, "a", "What it sees", "Two pictures of each of 20 categories, and of ten of an unlimited "
           "family of nameless concepts.")  # fmt: skip
    names = (*CATEGORIES, *nameless(10))
    gap, size, word = 6, 96, 30
    step, block = size + gap, 2 * (size + gap) + word
    sheet = np.full((3 * block - gap, 10 * step - gap, 3), 255, np.uint8)
    ax = fig.add_axes((0.04, 0.6, 0.575, 0.308))
    for i, name in enumerate(names):
        x, y = i % 10 * step, i // 10 * block
        for k in range(2):
            sheet[y + k * step :][:size, x : x + size] = paint(imagine(name, k), size)
        ax.text(x + size / 2, y + 2 * step + 5, name, ha="center", va="center", fontsize=8.5)
    ax.imshow(sheet, interpolation="lanczos")
    ax.set_axis_off()

    _title(fig, 0.655, 0.928, "b", "True depth, edges and caption", "White is near; edges are borders between parts.")
    shown = [imagine(c, k) for c, k in (("boat", 2), ("sofa", 1), ("horse", 0), ("shape0003", 1))]
    for i, scene in enumerate(shown):
        _maps_of(fig, scene, 0.671, 0.8415 - i * 0.0795)


def _maps_of(fig: Figure, scene: Scene, x: float, y: float) -> None:
    rgb, depth, edges = paint_maps(scene, 128)
    wide, high = 0.0765, 0.0765 * 14 / 16.75
    for i, image in enumerate((rgb, depth, 1 - edges)):
        ax = fig.add_axes((x + i * (wide + 0.004), y, wide, high))
        ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="lanczos")
        ax.set_axis_off()
    said = "\n".join(textwrap.wrap(scene.captions[0], 13))
    fig.text(x + 3 * (wide + 0.004) + 0.003, y + high / 2, said, fontsize=8.5, va="center", linespacing=1.35)


# -- sources


def _sources(fig: Figure, brain: Brain) -> None:
    waves_KCT, head = brain.responses()[1:], load_head()
    peak_K = np.abs(waves_KCT).max(1).argmax(1)
    columns_KC = waves_KCT[np.arange(len(peak_K)), :, peak_K]
    place_K3 = _DEPTH * locate(columns_KC, brain.ch_names)
    level_K = np.repeat(list(LEVELS), list(LEVELS.values()))
    size_K = 26 * columns_KC.std(1) / columns_KC.std(1).mean()
    where = head.where[[head.ch_names.index(c) for c in brain.ch_names]]
    _title(fig, 0.04, 0.572, "c", "Where its sources lie", f"{len(level_K)} sources, each driven by one feature of "
           f"the picture; {len(where)} electrodes.")  # fmt: skip
    for i, (name, across, up, towards) in enumerate((("from above", 0, 1, 2), ("from the right", 1, 2, 0))):
        ax = fig.add_axes((0.03 + 0.24 * i, 0.34, 0.24, 0.2))
        _outline(ax, side=bool(i))
        near = where[:, towards] > -0.15
        ax.scatter(where[near, across], where[near, up], s=11, facecolor="white", edgecolor=MUTED, lw=0.8, zorder=3)
        k = np.argsort(place_K3[:, towards])  # the nearest on top
        ax.scatter(place_K3[k, across], place_K3[k, up], s=size_K[k], c=[COLOURS[level_K[i]] for i in k], alpha=0.85,
                   edgecolor="white", lw=0.6, zorder=4)  # fmt: skip
        ax.set_title(name, fontsize=9.5, color=MUTED, y=-0.09)
    ax = fig.add_axes((0.04, 0.291, 0.46, 0.03))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_axis_off()
    about = {"early": "early: light and edges", "mid": "mid: colour, place, number", "semantic": "semantic: what it is"}
    for x, (level, says) in zip((0.03, 0.345, 0.71), about.items(), strict=True):
        ax.scatter(x, 0.5, s=42, color=COLOURS[level])
        ax.text(x + 0.018, 0.48, f"{says} ({LEVELS[level]})", va="center", fontsize=9)


def _outline(ax: Axes, *, side: bool = False, lw: float = 1.3) -> None:
    """Draw a head of radius 1: from above with nose and ears, or from the right side in profile."""
    from matplotlib.patches import Circle, Ellipse

    line: Any = {"color": INK, "lw": lw, "solid_capstyle": "round", "zorder": 2}
    if side:
        ax.plot(*_profile().T, **line)
        ax.add_patch(Ellipse((-0.08, -0.2), 0.17, 0.34, angle=8, fill=False, ec=LINE, lw=lw, zorder=2))
        ax.set(xlim=(-1.12, 1.3), ylim=(-1.22, 1.2), aspect="equal")
    else:
        ax.add_patch(Circle((0, 0), 1, fill=False, ec=INK, lw=lw, zorder=2))
        ax.plot([-0.17, 0, 0.17], [0.985, 1.17, 0.985], **line)
        for x in (-1, 1):
            ear = np.array([(0.995, 0.1), (1.06, 0.17), (1.09, 0.08), (1.07, -0.1), (1.05, -0.2), (0.975, -0.22)])
            ax.plot(x * ear[:, 0], ear[:, 1], **line)
        ax.set(xlim=(-1.21, 1.21), ylim=(-1.22, 1.2), aspect="equal")
    ax.set_axis_off()


def _profile() -> np.ndarray:
    """Outline of a head that looks to the right, (n, 2): neck, nape, skull of radius 1, face, throat."""
    from scipy.interpolate import make_interp_spline

    turn = np.radians(np.linspace(195, 12, 40))
    nape = [(-0.60, -1.22), (-0.62, -1.0), (-0.68, -0.8), (-0.84, -0.52)]
    face = [(0.985, 0.08), (0.98, 0.0), (1.08, -0.16), (1.17, -0.29), (1.06, -0.35), (1.02, -0.4), (1.055, -0.47),
            (1.0, -0.53), (1.03, -0.59), (0.96, -0.66), (0.975, -0.76), (0.9, -0.86), (0.72, -0.87), (0.48, -0.82),
            (0.34, -0.92), (0.32, -1.22)]  # fmt: skip
    points = np.concatenate([nape, np.stack([np.cos(turn), np.sin(turn)], 1), face])
    way = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    return np.asarray(make_interp_spline(way, points, k=3)(np.linspace(0, way[-1], 600)))


# -- evoked response


def _differing(brain: Brain, level: str = "") -> np.ndarray:
    """Return the standard deviation over pictures of each channel's noise-free response, (C, T), in microvolt."""
    waves_KCT = brain.responses()[1:]
    keep = np.repeat(list(LEVELS), list(LEVELS.values())) == level if level else slice(None)
    return np.sqrt((waves_KCT[keep] ** 2).sum(0))  # features are uncorrelated and of unit variance


def _evoked(fig: Figure, brain: Brain) -> None:
    common_CT, t_ms = brain.responses()[0], 1e3 * np.arange(brain.n_times) / brain.sfreq
    back = np.array([c.startswith(("O", "PO")) for c in brain.ch_names])
    _title(fig, 0.545, 0.572, "d", "How it answers", "Without noise. Thin lines: channels, darker over the back of the "
           "head.")  # fmt: skip
    top = fig.add_axes((0.585, 0.438, 0.385, 0.094))
    low = fig.add_axes((0.585, 0.304, 0.385, 0.1))
    differing_CT = _differing(brain)
    for ax, lines in ((top, common_CT), (low, differing_CT)):
        for rows, colour in ((~back, "#c3cad2"), (back, "#8793a0")):
            ax.plot(t_ms, lines[rows].T, color=colour, lw=0.7)
        ax.set(xlim=(0, min(600, t_ms[-1])), ylabel="µV")
        ax.axhline(0, color=LINE, lw=0.8, zorder=0)
    top.plot(t_ms, common_CT.std(0), color=INK, lw=2)
    top.tick_params(labelbottom=False)
    for level, colour in COLOURS.items():
        low.plot(t_ms, np.sqrt((_differing(brain, level) ** 2).mean(0)), color=colour, lw=2, label=level)
    low.plot(t_ms, np.sqrt((differing_CT**2).mean(0)), color=INK, lw=2, label="all")
    low.set(xlabel="ms after the picture appears", ylim=(0, None))
    low.legend(frameon=False, ncols=4, loc="upper right", handlelength=1.4, columnspacing=1.2, borderpad=0)
    for ax, says in ((top, "to an average picture; thick: global field power"),
                     (low, "what differs between pictures (SD); thick: mean over channels (RMS)")):  # fmt: skip
        ax.text(0, 1.03, says, transform=ax.transAxes, fontsize=9, va="bottom")


# -- scalp maps


def _maps(fig: Figure, brain: Brain) -> None:
    common_CT, differing_CT = brain.responses()[0], _differing(brain)
    _title(fig, 0.04, 0.258, "e", "Where it shows, over time", "Reference: Fz, as in the recordings.")
    where, wide = _flat(brain), 0.099
    times = [ms for ms in MAPS_MS if ms / 1e3 < brain.n_times / brain.sfreq]
    rows = (
        ("average picture", common_CT, "RdBu_r", 0.127),
        ("differs between\npictures (SD)", differing_CT, "magma_r", 0.026),
    )
    for says, wave_CT, colours, y in rows:
        moments = wave_CT[:, [round(ms / 1e3 * brain.sfreq) for ms in times]]
        most = float(np.abs(moments).max()) or 1.0
        least = -most if colours == "RdBu_r" else 0.0
        fig.text(0.056, y + 0.045, says, fontsize=9.5, va="center", linespacing=1.3)
        for i, ms in enumerate(times):
            ax = fig.add_axes((0.147 + i * wide, y, wide, wide * 14 / 16.75 * 1.05))
            drawn = _map(ax, where, moments[:, i], colours, least, most)
            if y > 0.1:
                ax.set_title(f"{ms} ms", fontsize=9.5, y=1.02)
        bar = fig.colorbar(drawn, cax=fig.add_axes((0.951, y + 0.013, 0.008, 0.056)), ticks=[least, 0, most])
        bar.ax.set_yticklabels([f"{v:.2g}" for v in (least, 0, most)])
        bar.outline.set_visible(False)
        bar.ax.set_title("µV", fontsize=8.5, color=MUTED, pad=4)


def _flat(brain: Brain) -> np.ndarray:
    """Electrodes on a flat head of radius 1, (C, 2): the angle from the vertex becomes the distance from the middle."""
    head = load_head()
    where = head.where[[head.ch_names.index(c) for c in brain.ch_names]]
    across = np.linalg.norm(where[:, :2], axis=1)
    angle = np.arctan2(across, where[:, 2])
    return np.asarray(where[:, :2] * (angle / (np.pi / 2) / _REACH / np.maximum(across, 1e-9))[:, None])


def _map(ax: Axes, where_C2: np.ndarray, values_C: np.ndarray, colours: str, low: float, high: float) -> Any:
    """Draw one scalp map; what is drawn is returned for the colour bar."""
    from matplotlib.patches import Circle
    from scipy.interpolate import RBFInterpolator

    side = np.linspace(-1.1, 1.1, 96)
    grid = np.stack(np.meshgrid(side, side), 2).reshape(-1, 2)
    z = RBFInterpolator(where_C2, values_C, kernel="thin_plate_spline", smoothing=1e-4)(grid).reshape(96, 96)
    drawn = ax.imshow(z, extent=(-1.1, 1.1, -1.1, 1.1), origin="lower", cmap=colours, vmin=low, vmax=high,
                      interpolation="bicubic")  # fmt: skip
    drawn.set_clip_path(Circle((0, 0), 1, transform=ax.transData))
    lines = ax.contour(side, side, z, levels=np.linspace(low, high, 9)[1:-1], colors=INK, linewidths=0.4, alpha=0.5)
    lines.set_clip_path(Circle((0, 0), 1, transform=ax.transData))
    ax.scatter(where_C2[:, 0], where_C2[:, 1], s=1.2, color=INK, zorder=3)
    _outline(ax, lw=0.9)
    return drawn

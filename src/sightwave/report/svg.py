"""From matplotlib to inline SVG: the page's own colours and fonts apply, so figures follow dark mode and print.

What comes out may stand in HTML as it is: matplotlib escapes all text, and mathematics in labels is switched off.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours stand for CSS variables of the page; `markup` swaps them, so each must be unique. Blue and orange are told
# apart by every kind of colour vision.
INK, MUTED, LINE, PAPER = "#1b2128", "#5d6874", "#dde2e8", "#fefefd"
MAIN, SOFT, SECOND = "#0a5f9e", "#5b9bcb", "#c25a05"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "card", MAIN: "main", SOFT: "soft", SECOND: "second"}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sightwave",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 10,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "savefig.transparent": True,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}


@contextmanager
def figure(width: float, height: float, style: Mapping[str, Any] | None = None) -> Iterator[Figure]:
    """Yield an empty figure of the report's style, sized in inches at 100 pixels each; pyplot knows nothing of it."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {**_STYLE, **(style or {})}
    with matplotlib.rc_context(settings):
        fig = Figure(figsize=(width, height), dpi=100)
        FigureCanvasSVG(fig)
        yield fig


def markup(fig: Figure, says: str, *, dpi: int = 200) -> str:
    """Turn a figure into markup: page colours, page font, one decimal, no ids that another figure could share.

    Parameters
    ----------
    fig : Figure
    says : str
        The figure in words, for who cannot see it.
    dpi : int
        Of the parts that are pixels.

    Returns
    -------
    str
        One ``<svg>`` element.
    """
    from html import escape

    out = io.StringIO()
    nothing: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
    fig.savefig(out, format="svg", dpi=dpi, metadata=nothing)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    width, height = 72 * fig.get_size_inches()  # points, as the file counts; a point is 4/3 of a CSS pixel
    size = f"max-width:{width * 4 / 3:.0f}px;aspect-ratio:{width:g}/{height:g}"
    head = f'<svg viewBox="0 0 {width:g} {height:g}" style="{size}" role="img" aria-label="{escape(says)}"'
    svg = re.sub(r"^<svg[^>]*>", f'{head} xmlns:xlink="http://www.w3.org/1999/xlink">', svg)
    # clip paths and markers are named by a hash of their content, so equal names mean equal things; other ids go
    svg = re.sub(r'<g id="(?!m[0-9a-f]{10}")[^"]*"', "<g", svg)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--sans)", svg)
    svg = re.sub(r' d="([^"]*)"', lambda d: f' d="{_short(d[1])}"', svg)
    for colour, name in _VARIABLES.items():
        svg = svg.replace(f": {colour}", f": var(--{name})")
    return re.sub(r">\s+<", "><", svg).strip()


def _short(d: str) -> str:
    """Write a polyline in relative tenths of a point: sixty channels then take a third of the bytes."""
    steps = re.findall(r"([A-Za-z])([^A-Za-z]*)", d)
    if not steps or any(c not in "ML" for c, _ in steps) or len(steps) < 8:
        return re.sub(r"(\.\d)\d+", r"\1", " ".join(d.split()))
    said, x, y = [], 0, 0
    for c, at in steps:
        a, b = (round(10 * float(v)) for v in at.split())
        said.append(f"M{a / 10:g} {b / 10:g}l" if c == "M" else f"{(a - x) / 10:g} {(b - y) / 10:g} ")
        x, y = a, b
    return re.sub(r"(?<!\d)0\.", ".", "".join(said).replace(" -", "-")).strip()

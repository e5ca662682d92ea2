"""What lies behind the objects of a phantom picture: nine backgrounds, their details, true depth and edges."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sightwave.phantom.concepts import HORIZON, Scene
from sightwave.phantom.pen import Pen

_SKY = {"sky": ((92, 158, 226), (176, 212, 244)), "clouds": ((150, 160, 172), (206, 212, 218)),
        "grass": ((128, 186, 236), (204, 228, 246)), "sea": ((140, 194, 236), (214, 232, 244)),
        "room": ((222, 206, 178), (210, 192, 164)), "street": ((176, 196, 214), (220, 226, 230)),
        "night": ((14, 18, 48), (36, 42, 84)), "sand": ((134, 196, 240), (216, 234, 246)),
        "snow": ((176, 190, 206), (214, 222, 232))}  # fmt: skip
_GROUND = {"grass": ((110, 172, 84), (66, 128, 54)), "sea": ((60, 128, 176), (26, 78, 132)),
           "room": ((158, 116, 82), (122, 84, 58)), "street": ((118, 120, 124), (84, 86, 92)),
           "night": ((40, 44, 56), (24, 26, 36)), "sand": ((236, 214, 158), (214, 184, 122)),
           "snow": ((226, 232, 240), (250, 252, 255))}  # fmt: skip
_WALLS = ((222, 206, 178), (188, 206, 200), (214, 190, 190), (196, 200, 218))


def backdrop(name: str, side: int, rng: np.random.Generator) -> Image.Image:
    """Paint a vertical gradient for what is above the horizon and one for what is below."""
    t = np.linspace(0, 1, side)[:, None]
    top, bottom = (np.array(c, float) for c in _SKY[name])
    if name == "room":
        top = np.array(_WALLS[rng.integers(len(_WALLS))], float)
        bottom = top * 0.92
    column = top + (bottom - top) * t / min(HORIZON[name], 1)
    if HORIZON[name] < 1:
        a, b = (np.array(c, float) for c in _GROUND[name])
        u = np.clip((t - HORIZON[name]) / (1 - HORIZON[name]), 0, 1)
        column = np.where(t > HORIZON[name], a + (b - a) * u, column)
    column = column * rng.uniform(0.93, 1.05)
    image = np.broadcast_to(np.clip(column, 0, 255)[:, None], (side, side, 3)).astype(np.uint8)
    return Image.fromarray(image)


def decorate(pen: Pen, scene: Scene, rng: np.random.Generator) -> None:
    """Draw the details that name the background: clouds, stars, blades, waves, houses, a window."""
    name, h = scene.background, 2 * HORIZON[scene.background] - 1
    pen.place(0.5, 0.5, 0.5, False, 0)
    pen.near = 0.02
    if name in ("sky", "clouds", "grass", "sea", "sand"):
        for _ in range(6 if name == "clouds" else 2):
            x, y = rng.uniform(-1, 1), rng.uniform(-0.95, 0.9 if name in ("clouds",) else min(h, 0.6) - 0.35)
            tone = (228, 232, 236) if name == "clouds" else (250, 251, 252)
            for dx, dy, r in ((-0.16, 0.02, 0.1), (0, -0.03, 0.14), (0.17, 0.02, 0.1)):
                pen.oval(x + dx, y + dy, r * 1.3, r, fill=tone)
    if name == "night":
        for _ in range(24):
            pen.oval(rng.uniform(-1, 1), rng.uniform(-1, h), 0.018, fill=(236, 236, 210))
        x = rng.uniform(-0.8, 0.8)
        pen.oval(x, -0.72, 0.15, fill=(246, 240, 200))
        pen.oval(x + 0.07, -0.76, 0.13, fill=(18, 22, 54))
    if name == "snow":
        for _ in range(40):
            pen.oval(rng.uniform(-1, 1), rng.uniform(-1, 1), 0.022, fill=(255, 255, 255))
    if name == "grass":
        for _ in range(46):
            x, y = rng.uniform(-1, 1), rng.uniform(h + 0.05, 1)
            pen.near = disparity(name, (y + 1) / 2, 0)
            pen.line([(x, y), (x + 0.02, y - 0.09)], 0.02, fill=(52, 108, 44))
    if name == "sea":
        for _ in range(26):
            x, y = rng.uniform(-1, 1), rng.uniform(h + 0.06, 1)
            pen.near = disparity(name, (y + 1) / 2, 0)
            pen.line([(x, y), (x + 0.1, y - 0.03), (x + 0.2, y)], 0.022, fill=(150, 196, 224))
    if name == "sand":
        for _ in range(60):
            y = rng.uniform(h + 0.04, 1)
            pen.near = disparity(name, (y + 1) / 2, 0)
            pen.oval(rng.uniform(-1, 1), y, 0.013, fill=(196, 164, 104))
    if name == "street":
        x = -1.0
        while x < 1:
            w, top = rng.uniform(0.28, 0.5), h - rng.uniform(0.45, 1.0)
            wall = tuple(int(v) for v in rng.integers(112, 186, 3))
            pen.near = 0.08
            pen.box(x, top, x + w, h, fill=wall)
            for i in range(2):
                for j in range(4):
                    wx, wy = x + w * (0.2 + 0.4 * i), top + 0.1 + 0.2 * j
                    if wy < h - 0.12:
                        pen.box(wx, wy, wx + w * 0.2, wy + 0.09, fill=(70, 80, 98))
            x += w
        for x in np.arange(-1, 1, 0.5):
            pen.box(x, 0.86, x + 0.28, 0.91, fill=(232, 226, 190))
    if name == "room":
        pen.near = 0.1
        x = rng.choice([-0.62, 0.62])
        pen.box(x - 0.26, -0.86, x + 0.26, -0.3, fill=(250, 250, 246))
        pen.box(x - 0.21, -0.81, x + 0.21, -0.35, fill=(150, 204, 240))
        pen.line([(x, -0.81), (x, -0.35)], 0.03, fill=(250, 250, 246))
        pen.box(-1, h - 0.05, 1, h + 0.01, fill=(240, 234, 222))


def disparity(background: str, foot: float, scale: float) -> float:
    """Nearness of the ground at height ``foot``; floating things come nearer as they grow."""
    h = HORIZON[background]
    return 0.25 + 1.2 * scale if h > 1 else float(np.clip(0.15 + 0.85 * (foot - h) / (1 - h), 0.1, 1.0))


def true_depth(pen: Pen, scene: Scene, size: int) -> np.ndarray:
    """Return the true nearness of a drawn scene, shape (size, size), float32 in [0, 1]."""
    rows = (np.arange(size) + 0.5) / size
    h = HORIZON[scene.background]
    floor = np.where(rows > h, 0.15 + 0.85 * (rows - h) / max(1 - h, 1e-6), 0.0)
    drawn = np.asarray(pen.depth.reduce(pen.side // size), np.float32) / 255
    return np.maximum(drawn, floor[:, None]).astype(np.float32)


def true_edges(pen: Pen, zoom: int) -> np.ndarray:
    """Return the share of each pixel that a border between two parts crosses, shape (size, size), float32."""
    p = np.asarray(pen.parts, np.int16)
    edge = np.zeros(p.shape, np.float32)
    edge[:, 1:] += p[:, 1:] != p[:, :-1]
    edge[1:] += p[1:] != p[:-1]
    n = p.shape[0] // zoom
    return np.minimum(edge.reshape(n, zoom, n, zoom).mean((1, 3)) * zoom / 1.5, 1).astype(np.float32)

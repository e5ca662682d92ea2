"""A pen that draws polygons in a unit box placed on a canvas, and keeps true depth and edges beside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, ...]
Points = Sequence[tuple[float, float]] | np.ndarray


class Pen:
    """Draws in a unit box [-1, 1]^2 (y down) placed, turned and flipped on the canvas."""

    def __init__(self, image: Image.Image, maps: bool):
        self.image, self.side = image, image.size[0]
        self.draw = ImageDraw.Draw(image)
        self.maps = maps
        if maps:
            self.parts, self.depth = Image.new("L", image.size), Image.new("L", image.size)
            self.draw_parts, self.draw_depth = ImageDraw.Draw(self.parts), ImageDraw.Draw(self.depth)
            self.part = 0
        self.near = 0.0
        self.body: Image.Image | None = None
        self.place(0.5, 0.5, 0.5, False, 0.0)

    def place(self, x: float, y: float, scale: float, flip: bool, tilt: float) -> None:
        """Put the unit box at (x, y), fractions of the side, turned by ``tilt`` degrees."""
        a = math.radians(tilt)
        self.scale = scale * self.side
        self.matrix = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]) * self.scale
        if flip:
            self.matrix = self.matrix @ np.diag([-1.0, 1.0])
        self.origin = np.array([x, y]) * self.side

    def begin(self, colour: Colour, second: Colour) -> None:
        """Start a new object whose body parts will be textured together."""
        self.c = colour
        self.c2 = second
        self.dark = mix(colour, (0, 0, 0), 0.35)
        self.light = mix(colour, (255, 255, 255), 0.4)
        self.body = Image.new("1", self.image.size)
        self.draw_body = ImageDraw.Draw(self.body)

    def poly(self, points: Points, fill: Colour | None = None, body: bool = False) -> None:
        """Fill a polygon; ``body`` parts take the texture later."""
        xy = np.asarray(points, float) @ self.matrix.T + self.origin
        flat = xy.ravel().tolist()
        self.draw.polygon(flat, fill=self.c if fill is None else fill)
        if body:
            self.draw_body.polygon(flat, fill=1)
        elif self.body is not None:
            self.draw_body.polygon(flat, fill=0)
        if self.maps:
            self.part = self.part % 250 + 1
            self.draw_parts.polygon(flat, fill=self.part)
            self.draw_depth.polygon(flat, fill=int(255 * self.near))

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float | None = None,
        fill: Colour | None = None,
        body: bool = False,
        turn: float = 0.0,
    ) -> None:
        """Fill an ellipse, turned by ``turn`` degrees."""
        t = circle()
        a = math.radians(turn)
        points = t * (rx, rx if ry is None else ry)
        points = points @ np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]) + (x, y)
        self.poly(points, fill, body)

    def box(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour | None = None,
        body: bool = False,
        round: float = 0.0,
    ) -> None:
        """Fill a rectangle with rounded corners."""
        r = min(round, (x1 - x0) / 2, (y1 - y0) / 2)
        if r <= 0:
            return self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, body)
        t = circle() * r
        centre = np.where(t > 0, [x1 - r, y1 - r], [x0 + r, y0 + r])
        self.poly(t + centre, fill, body)

    def line(self, points: Points, width: float, fill: Colour | None = None, body: bool = False) -> None:
        """Draw a thick broken line with round joints."""
        points = np.asarray(points, float)
        for a, b in pairwise(points):
            d = b - a
            n = np.array([-d[1], d[0]]) / (np.hypot(*d) + 1e-9) * width / 2
            self.poly([a + n, b + n, b - n, a - n], fill, body)
        for a in points[1:-1]:
            self.oval(float(a[0]), float(a[1]), width / 2, fill=fill, body=body)

    def ring(self, x: float, y: float, r: float, width: float, fill: Colour | None = None, body: bool = False) -> None:
        """Draw a thick circle."""
        t = circle()
        for a, b in zip(t[:-1:2], t[2::2], strict=False):
            self.poly([a * (r + width / 2) + (x, y), b * (r + width / 2) + (x, y), b * (r - width / 2) + (x, y),
                       a * (r - width / 2) + (x, y)], fill, body)  # fmt: skip

    def clothe(self, texture: str) -> None:
        """Print the texture on the body parts."""
        if texture == "plain":
            return
        bright = sum(self.c) > 330
        ink = mix(self.c, (20, 20, 30) if bright else (255, 255, 250), 0.7)
        cloth = Image.new("RGB", self.image.size)
        mask = Image.new("1", self.image.size)
        draw = ImageDraw.Draw(mask)
        # never finer than 0.09 of the picture: 4 of the 48 pixels that the tiny CLIP sees
        step = max(0.3, 0.09 * self.side / self.scale)
        s = np.arange(-1.5, 1.5, step)
        put = lambda q: (np.asarray(q) @ self.matrix.T + self.origin).ravel().tolist()  # noqa: E731
        if texture == "striped":
            for a in s:
                b = a + step / 2
                draw.polygon(put([(a, -1.5), (b, -1.5), (b, 1.5), (a, 1.5)]), fill=1)
        else:
            for i, a in enumerate(s):
                for j, b in enumerate(s):
                    if texture == "spotted":
                        draw.polygon(put(circle()[::6] * 0.34 * step + (a + step / 2 * (j % 2), b)), fill=1)
                    elif (i + j) % 2:
                        draw.polygon(put([(a, b), (a + step, b), (a + step, b + step), (a, b + step)]), fill=1)
        cloth.paste(ink, (0, 0, self.side, self.side))
        both = Image.fromarray(np.asarray(mask) & np.asarray(self.body))
        self.image.paste(cloth, mask=both)
        self.draw = ImageDraw.Draw(self.image)


@lru_cache
def circle(n: int = 49) -> np.ndarray:
    """Points on the unit circle, shape (n, 2)."""
    t = np.linspace(0, 2 * np.pi, n)
    return np.stack([np.cos(t), np.sin(t)], 1)


def mix(a: Colour, b: Colour, w: float) -> Colour:
    """Blend two colours; ``w`` is the share of the second."""
    return tuple(int(p * (1 - w) + q * w) for p, q in zip(a, b, strict=True))

"""Nameless concepts: a body with an outline, arms, and two parts that tell what kind of thing it is."""

from __future__ import annotations

import math
import zlib

import numpy as np

from sightwave.phantom.concepts import Scene
from sightwave.phantom.drawings import GLASS, INK, wheel
from sightwave.phantom.pen import Pen


def nameless(p: Pen, scene: Scene) -> None:
    """Draw a body with an outline, arms of the second colour around it, and the parts that tell its kind."""
    n = {"no": 0, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8}[scene.arms]
    fixed = np.random.default_rng([scene.seed, zlib.crc32(scene.concept.encode()), 3])
    reach, width, knob = fixed.uniform(0.82, 1.0), fixed.uniform(0.1, 0.2), fixed.uniform(0.06, 0.17)
    stretch, phase = fixed.uniform(0.75, 1.25), fixed.uniform(0, 360)
    for part in scene.parts:
        if part in _BEHIND:
            _BEHIND[part](p)
    for i in range(n):
        a = math.radians(phase + 360 * i / n)
        c, s = reach * math.cos(a), reach * math.sin(a)
        p.line([(0, 0), (c, s)], width, p.c2)
        p.oval(c, s, knob, fill=p.c2)
    _body(p, scene.outline, 0.62 * math.sqrt(stretch), 0.62 / math.sqrt(stretch))
    for part in scene.parts:
        if part in _BEFORE:
            _BEFORE[part](p)


def _body(p: Pen, outline: str, rx: float, ry: float) -> None:
    t = np.linspace(0, 2 * np.pi, 61)[:-1]
    unit = np.stack([np.cos(t), np.sin(t)], 1)
    if outline == "ring":
        p.ring(0, 0, 0.5, 0.26, p.c, True)
    elif outline == "square":
        p.box(-rx * 0.9, -ry * 0.9, rx * 0.9, ry * 0.9, p.c, True)
    elif outline == "cross":
        p.box(-rx, -0.22, rx, 0.22, p.c, True)
        p.box(-0.22, -ry, 0.22, ry, p.c, True)
    elif outline == "triangular":
        p.poly([(0, -ry * 1.1), (rx * 1.1, ry * 0.8), (-rx * 1.1, ry * 0.8)], p.c, True)
    elif outline == "star":
        r = np.where(np.arange(10) % 2, 0.36, 0.8)[:, None]
        k = np.arange(10) * np.pi / 5 - np.pi / 2
        p.poly(np.stack([np.cos(k), np.sin(k)], 1) * r, p.c, True)
    elif outline == "wavy":
        p.poly(unit * (1 + 0.18 * np.cos(7 * t))[:, None] * (rx, ry), p.c, True)
    elif outline == "crescent":
        k = np.linspace(-2.2, 2.2, 30)
        outer = np.stack([np.cos(k), np.sin(k)], 1) * 0.68
        inner = np.stack([np.cos(k[::-1]) * 0.62 + 0.34, np.sin(k[::-1]) * 0.6], 1)
        p.poly(np.concatenate([outer, inner]) * (-1, 1), p.c, True)
    else:
        p.oval(0, 0, rx, ry, p.c, True)


def _wings(p: Pen) -> None:
    for s in (-1, 1):
        p.poly(
            [(s * 0.25, 0.1), (s * 0.55, -0.75), (s * 1.0, -0.85), (s * 0.92, -0.3), (s * 0.3, 0.3)], (206, 220, 246)
        )
        p.line([(s * 0.3, 0.1), (s * 0.97, -0.82)], 0.05, (120, 140, 190))


def _feet(p: Pen) -> None:
    for s in (-1, 1):
        for width, fill in ((0.19, INK), (0.09, (232, 150, 60))):  # two tones: seen by day and at night
            p.line([(s * 0.24, 0.3), (s * 0.26, 0.94), (s * 0.46, 0.96)], width, fill)


def _flames(p: Pen) -> None:
    p.poly(
        [(-0.42, 0.3), (-0.36, 0.9), (-0.16, 0.66), (0, 1.1), (0.16, 0.66), (0.36, 0.9), (0.42, 0.3)], (240, 110, 30)
    )
    p.poly([(-0.2, 0.4), (-0.13, 0.72), (0, 0.86), (0.13, 0.72), (0.2, 0.4)], (255, 226, 90))


def _leaves(p: Pen) -> None:
    p.line([(0, -0.4), (0, -0.86)], 0.08, (54, 110, 50))
    for s in (-1, 1):
        p.oval(s * 0.3, -0.84, 0.32, 0.14, (74, 160, 66), False, s * 24)


def _eyes(p: Pen) -> None:
    for s in (-1, 1):
        p.oval(s * 0.21, -0.16, 0.18, fill=(252, 252, 252))
        p.oval(s * 0.21, -0.14, 0.09, fill=INK)


def _horns(p: Pen) -> None:
    for s in (-1, 1):
        p.poly([(s * 0.16, -0.42), (s * 0.62, -1.06), (s * 0.5, -0.36)], (240, 230, 200))
        p.line([(s * 0.5, -0.36), (s * 0.62, -1.06)], 0.05, (150, 130, 90))


def _wheels(p: Pen) -> None:
    for s in (-1, 1):
        wheel(p, s * 0.56, 0.68, 0.27)


def _windows(p: Pen) -> None:
    p.box(-0.46, 0.1, 0.46, 0.42, INK)
    for x in (-0.4, -0.12, 0.16):
        p.box(x, 0.15, x + 0.24, 0.37, GLASS)


_BEHIND = {"wings": _wings, "legs": _feet, "flames": _flames, "leaves": _leaves}
_BEFORE = {"eyes": _eyes, "horns": _horns, "wheels": _wheels, "windows": _windows}

"""The twenty categories, each drawn by a `Pen` in the unit box [-1, 1]^2."""

from __future__ import annotations

import math

import numpy as np

from sightwave.phantom.concepts import CATEGORIES
from sightwave.phantom.pen import Colour, Pen, mix

INK, GLASS, WHEEL, SKIN, METAL = (34, 34, 40), (176, 214, 236), (40, 40, 46), (232, 186, 152), (168, 172, 180)


def wheel(p: Pen, x: float, y: float, r: float) -> None:
    p.oval(x, y, r, fill=WHEEL)
    p.oval(x, y, r * 0.5, fill=(196, 198, 202))


def _legs(p: Pen, xs: tuple[float, ...], top: float, foot: float, width: float, fill: Colour) -> None:
    for i, x in enumerate(xs):
        p.line([(x, top), (x + (0.03 if i % 2 else -0.02), foot)], width, fill=p.dark if i % 2 else fill)


def aeroplane(p: Pen, rng: np.random.Generator) -> None:
    p.poly([(0.22, -0.08), (-0.12, -0.62), (-0.3, -0.62), (-0.12, -0.06)], p.dark)
    p.poly([(-0.62, -0.1), (-0.98, -0.6), (-0.76, -0.6), (-0.4, -0.12)], p.c, True)
    p.oval(0, 0, 0.98, 0.2, p.c, True)
    p.poly([(0.6, -0.15), (0.82, -0.08), (0.66, -0.02), (0.56, -0.03)], GLASS)
    for x in np.arange(-0.45, 0.5, 0.18):
        p.oval(x, -0.05, 0.05, fill=(90, 120, 160))
    p.poly([(0.25, 0.06), (-0.3, 0.72), (-0.52, 0.72), (-0.22, 0.06)], p.dark)
    p.poly([(-0.66, 0.02), (-1.0, 0.26), (-0.86, 0.26), (-0.48, 0.04)], p.dark)
    p.oval(-0.06, 0.36, 0.15, 0.08, METAL)


def bicycle(p: Pen, rng: np.random.Generator) -> None:
    for x in (-0.56, 0.56):
        p.ring(x, 0.38, 0.4, 0.085, INK)
        for a in range(0, 180, 45):
            c, s = 0.37 * math.cos(math.radians(a)), 0.37 * math.sin(math.radians(a))
            p.line([(x - c, 0.38 - s), (x + c, 0.38 + s)], 0.02, METAL)
    p.line([(-0.56, 0.38), (-0.22, -0.22), (0.36, -0.26), (0.0, 0.38), (-0.56, 0.38)], 0.1, p.c, True)
    p.line([(-0.28, -0.36), (0.0, 0.38)], 0.1, p.c, True)
    p.line([(0.56, 0.38), (0.32, -0.5), (0.54, -0.6)], 0.09, p.c, True)
    p.line([(-0.48, -0.42), (-0.1, -0.4)], 0.13, INK)
    p.oval(0.0, 0.38, 0.11, fill=INK)


def bird(p: Pen, rng: np.random.Generator) -> None:
    p.poly([(-0.5, 0.0), (-1.0, -0.12), (-0.98, 0.22), (-0.45, 0.28)], p.dark)
    for x in (-0.05, 0.14):
        p.line([(x, 0.4), (x, 0.8), (x + 0.14, 0.82)], 0.05, (226, 140, 40))
    p.oval(0, 0.1, 0.6, 0.38, p.c, True, -12)
    p.oval(0.1, 0.25, 0.4, 0.2, p.light, False, -12)
    p.oval(0.52, -0.34, 0.29, fill=p.c, body=True)
    p.poly([(0.76, -0.42), (1.08, -0.28), (0.76, -0.22)], (240, 160, 36))
    p.oval(0.6, -0.4, 0.075, fill=(250, 250, 250))
    p.oval(0.62, -0.4, 0.045, fill=INK)
    if rng.random() < 0.5:
        p.poly([(0.2, -0.02), (-0.2, -0.85), (-0.55, -0.75), (-0.35, 0.1)], p.dark)
    else:
        p.poly([(0.25, -0.02), (-0.1, 0.32), (-0.62, 0.3), (-0.35, -0.02)], p.dark)


def boat(p: Pen, rng: np.random.Generator) -> None:
    p.line([(0, 0.3), (0, -0.98)], 0.06, (110, 74, 48))
    p.poly([(0.07, -0.95), (0.72, 0.2), (0.07, 0.2)], (248, 246, 238))
    p.poly([(-0.07, -0.75), (-0.62, 0.2), (-0.07, 0.2)], p.light)
    p.poly([(-0.95, 0.32), (0.98, 0.32), (0.66, 0.8), (-0.66, 0.8)], p.c, True)
    p.box(-0.95, 0.3, 0.98, 0.38, (246, 246, 246))


def bottle(p: Pen, rng: np.random.Generator) -> None:
    p.poly([(-0.12, -0.72), (0.12, -0.72), (0.14, -0.4), (0.34, -0.1), (-0.34, -0.1), (-0.14, -0.4)], p.c, True)
    p.box(-0.34, -0.16, 0.34, 0.98, p.c, True, 0.08)
    p.box(-0.15, -0.98, 0.15, -0.7, (70, 52, 40), False, 0.03)
    p.box(-0.34, 0.14, 0.34, 0.62, (248, 242, 224))
    p.box(-0.24, 0.3, 0.24, 0.38, p.dark)
    p.box(-0.27, -0.06, -0.19, 0.1, p.light)


def bus(p: Pen, rng: np.random.Generator) -> None:
    p.box(-1.0, -0.6, 1.0, 0.55, p.c, True, 0.12)
    for x in np.arange(-0.88, 0.5, 0.35):
        p.box(x, -0.42, x + 0.28, -0.02, GLASS, False, 0.04)
    p.box(0.56, -0.42, 0.82, 0.5, (60, 74, 96), False, 0.03)
    p.box(0.88, -0.42, 1.0, 0.02, GLASS)
    p.box(-1.0, 0.14, 0.54, 0.22, (250, 250, 246))
    p.oval(0.96, 0.36, 0.05, fill=(255, 236, 150))
    for x in (-0.58, 0.4):
        wheel(p, x, 0.57, 0.22)


def car(p: Pen, rng: np.random.Generator) -> None:
    p.poly([(-0.62, 0.02), (-0.38, -0.42), (0.26, -0.42), (0.58, 0.02)], p.c, True)
    p.poly([(-0.48, 0.0), (-0.3, -0.32), (-0.06, -0.32), (-0.06, 0.0)], GLASS)
    p.poly([(0.03, 0.0), (0.03, -0.32), (0.21, -0.32), (0.43, 0.0)], GLASS)
    p.box(-0.98, -0.02, 0.98, 0.42, p.c, True, 0.14)
    p.oval(0.92, 0.14, 0.08, fill=(255, 238, 160))
    p.box(-0.98, 0.06, -0.88, 0.2, (200, 30, 30))
    p.line([(-0.02, 0.06), (-0.02, 0.36)], 0.03, p.dark)
    for x in (-0.55, 0.56):
        wheel(p, x, 0.44, 0.25)


def cat(p: Pen, rng: np.random.Generator) -> None:
    p.line([(0.3, 0.8), (0.72, 0.74), (0.84, 0.4), (0.74, 0.1)], 0.14, p.c, True)
    p.oval(0, 0.5, 0.44, 0.5, p.c, True)
    for s in (-1, 1):
        p.poly([(s * 0.42, -0.28), (s * 0.4, -0.98), (s * 0.04, -0.56)], p.c)
        p.poly([(s * 0.35, -0.5), (s * 0.35, -0.84), (s * 0.16, -0.58)], (240, 168, 172))
        p.oval(s * 0.16, 0.92, 0.15, 0.1, p.light)
    p.oval(0, -0.28, 0.46, 0.4, p.c, False)
    for s in (-1, 1):
        p.oval(s * 0.19, -0.34, 0.1, 0.1, (206, 232, 96))
        p.oval(s * 0.19, -0.34, 0.035, 0.09, INK)
        for y in (-0.12, -0.02):
            p.line([(s * 0.14, -0.12), (s * 0.66, y - 0.06)], 0.025, (250, 250, 250) if sum(p.c) < 400 else INK)
    p.poly([(-0.07, -0.19), (0.07, -0.19), (0, -0.1)], (236, 120, 130))
    p.line([(-0.1, -0.02), (0, -0.08), (0.1, -0.02)], 0.03, INK)


def chair(p: Pen, rng: np.random.Generator) -> None:
    p.box(-0.5, -0.98, -0.36, 0.96, p.dark)
    p.box(0.2, -0.98, 0.34, 0.3, p.dark)
    for y in (-0.9, -0.62, -0.34):
        p.box(-0.42, y, 0.26, y + 0.17, p.c, True)
    p.poly([(-0.52, 0.16), (0.34, 0.16), (0.64, 0.36), (-0.3, 0.36)], p.c, True)
    p.box(-0.3, 0.34, 0.64, 0.45, p.dark)
    p.box(-0.3, 0.4, -0.18, 0.98, p.c)
    p.box(0.52, 0.4, 0.64, 0.98, p.c)
    p.box(0.24, 0.44, 0.34, 0.84, p.dark)


def cow(p: Pen, rng: np.random.Generator) -> None:
    _legs(p, (-0.55, -0.4, 0.3, 0.46), 0.3, 0.92, 0.14, p.c)
    p.line([(-0.7, -0.1), (-0.86, 0.2), (-0.84, 0.46)], 0.05, p.dark)
    p.box(-0.74, -0.36, 0.58, 0.44, p.c, True, 0.24)
    p.oval(0.08, 0.46, 0.17, 0.12, (244, 176, 180))
    patch = (48, 42, 40) if sum(p.c) > 330 else (244, 240, 232)
    p.oval(-0.4, -0.08, 0.22, 0.2, patch)
    p.oval(0.16, 0.08, 0.2, 0.16, patch)
    p.oval(0.36, -0.26, 0.13, 0.09, patch)
    for s in (-1, 1):
        p.poly([(0.76 + s * 0.12, -0.6), (0.76 + s * 0.34, -0.86), (0.76 + s * 0.2, -0.5)], (238, 228, 200))
        p.oval(0.74 + s * 0.28, -0.42, 0.13, 0.07, p.dark, False, s * 18)
    p.oval(0.74, -0.34, 0.22, 0.3, p.c)
    p.oval(0.76, -0.12, 0.2, 0.14, (244, 184, 184))
    for s in (-1, 1):
        p.oval(0.76 + s * 0.08, -0.12, 0.035, fill=(120, 70, 70))
        p.oval(0.74 + s * 0.1, -0.42, 0.045, fill=INK)


def diningtable(p: Pen, rng: np.random.Generator) -> None:
    for x in (-0.6, 0.62):
        p.box(x - 0.05, -0.1, x + 0.05, 0.6, p.dark)
    p.poly([(-0.72, -0.22), (0.72, -0.22), (1.0, 0.2), (-1.0, 0.2)], p.c, True)
    p.box(-1.0, 0.18, 1.0, 0.32, p.dark)
    for x in (-0.9, 0.9):
        p.box(x - 0.08, 0.3, x + 0.08, 0.96, p.c)
    for x in (-0.52, 0.52):
        p.oval(x, 0.02, 0.26, 0.1, (250, 250, 250))
        p.oval(x, 0.02, 0.15, 0.055, (222, 226, 232))
    p.box(-0.08, -0.42, 0.08, -0.02, (120, 170, 210), False, 0.04)
    p.line([(0, -0.4), (0, -0.6)], 0.04, (60, 130, 60))
    p.oval(0, -0.68, 0.14, fill=(222, 60, 70))


def dog(p: Pen, rng: np.random.Generator) -> None:
    _legs(p, (-0.48, -0.32, 0.22, 0.38), 0.3, 0.94, 0.14, p.c)
    p.line([(-0.55, 0.0), (-0.86, -0.3), (-0.88, -0.56)], 0.12, p.c, True)
    p.box(-0.64, -0.16, 0.5, 0.4, p.c, True, 0.24)
    p.poly([(0.16, -0.06), (0.34, -0.6), (0.72, -0.5), (0.52, 0.2)], p.c, True)
    p.oval(0.56, -0.5, 0.28, 0.25, p.c)
    p.box(0.6, -0.52, 1.02, -0.28, p.light, False, 0.1)
    p.oval(1.0, -0.48, 0.08, 0.07, INK)
    p.line([(0.74, -0.3), (0.98, -0.32)], 0.03, INK)
    p.oval(0.6, -0.6, 0.055, fill=(255, 255, 255))
    p.oval(0.61, -0.6, 0.04, fill=INK)
    p.oval(0.36, -0.4, 0.13, 0.27, p.dark, False, 12)
    p.line([(0.26, -0.1), (0.6, -0.06)], 0.09, (206, 40, 40))
    if rng.random() < 0.6:
        p.oval(0.86, -0.22, 0.06, 0.11, (240, 120, 140))


def flower(p: Pen, rng: np.random.Generator) -> None:
    p.line([(0, -0.2), (0.05, 0.98)], 0.09, (58, 126, 54))
    for s in (-1, 1):
        p.oval(s * 0.26, 0.6, 0.28, 0.11, (74, 150, 66), False, -s * 32)
    n = int(rng.integers(5, 8))
    for i in range(n):
        a = 2 * math.pi * i / n
        p.oval(0.4 * math.cos(a), -0.4 + 0.4 * math.sin(a), 0.3, 0.21, p.c, True, math.degrees(a))
    core = (250, 200, 50) if sum(abs(a - b) for a, b in zip(p.c, (244, 208, 62), strict=True)) > 90 else (120, 72, 36)
    p.oval(0, -0.4, 0.22, fill=core)


def horse(p: Pen, rng: np.random.Generator) -> None:
    _legs(p, (-0.52, -0.34, 0.26, 0.42), 0.2, 0.98, 0.12, p.c)
    p.line([(-0.6, -0.2), (-0.84, 0.02), (-0.88, 0.5)], 0.15, INK if sum(p.c) > 160 else (90, 80, 76))
    p.oval(-0.08, 0.02, 0.58, 0.32, p.c, True)
    p.poly([(0.16, 0.05), (0.42, -0.78), (0.66, -0.72), (0.54, 0.1)], p.c, True)
    mane = INK if sum(p.c) > 160 else (104, 92, 86)
    p.poly([(0.12, -0.1), (0.36, -0.86), (0.5, -0.8), (0.3, -0.05)], mane)
    p.oval(0.68, -0.64, 0.32, 0.15, p.c, False, 34)
    p.oval(0.86, -0.5, 0.12, 0.11, p.light)
    p.poly([(0.44, -0.78), (0.44, -1.02), (0.58, -0.8)], p.c)
    p.oval(0.6, -0.72, 0.04, fill=INK)
    for x in (-0.54, 0.24):
        p.box(x - 0.07, 0.9, x + 0.07, 1.0, INK)


def motorbike(p: Pen, rng: np.random.Generator) -> None:
    for x in (-0.62, 0.62):
        p.ring(x, 0.42, 0.3, 0.17, INK)
        p.oval(x, 0.42, 0.11, fill=METAL)
    p.line([(-0.62, 0.42), (-0.1, 0.42)], 0.1, METAL)
    p.line([(-0.9, 0.5), (-0.2, 0.56)], 0.1, (210, 212, 218))
    p.oval(-0.02, 0.3, 0.28, 0.26, (96, 98, 106))
    p.line([(0.62, 0.42), (0.38, -0.28), (0.24, -0.5)], 0.1, METAL)
    p.line([(0.4, -0.48), (0.08, -0.52)], 0.08, INK)
    p.poly([(-0.92, -0.2), (-0.2, -0.1), (-0.1, 0.1), (-0.72, 0.12)], INK)
    p.oval(0.14, -0.08, 0.34, 0.2, p.c, True, 8)
    p.poly([(-1.0, -0.1), (-0.5, 0.02), (-0.3, 0.24), (-0.7, 0.12)], p.c, True)
    p.oval(0.48, -0.26, 0.13, fill=(255, 240, 170))
    p.poly([(0.36, 0.14), (0.62, 0.0), (0.96, 0.2), (0.9, 0.26), (0.62, 0.1)], p.c, True)


def person(p: Pen, rng: np.random.Generator) -> None:
    trousers = (52, 60, 92)
    stride, lift = rng.uniform(0.08, 0.26), rng.uniform(-0.5, 0.5)
    p.line([(-0.1, 0.2), (-0.1 - stride / 2, 0.6), (-0.1 - stride, 0.94)], 0.19, trousers)
    p.line([(0.1, 0.2), (0.1 + stride / 2, 0.6), (0.1 + stride, 0.94)], 0.19, trousers)
    for s in (-1, 1):
        p.oval(s * (0.14 + stride), 0.95, 0.15, 0.07, INK)
    elbow = 0.0 if lift < 0 else -0.3 * lift
    p.line([(-0.22, -0.42), (-0.44, -0.08), (-0.5, 0.22)], 0.14, p.dark)
    p.line([(0.22, -0.42), (0.46, -0.12 + elbow), (0.56, 0.2 - 1.4 * max(lift, 0))], 0.14, p.dark)
    p.oval(-0.5, 0.26, 0.08, fill=SKIN)
    p.oval(0.57, 0.22 - 1.4 * max(lift, 0), 0.08, fill=SKIN)
    p.poly([(-0.3, -0.48), (0.3, -0.48), (0.22, 0.3), (-0.22, 0.3)], p.c, True)
    p.box(-0.08, -0.6, 0.08, -0.44, SKIN)
    hair = ((60, 40, 30), (30, 26, 26), (206, 160, 80), (150, 70, 40))[int(rng.integers(4))]
    p.oval(0, -0.78, 0.25, 0.26, hair)
    p.oval(0, -0.74, 0.2, 0.22, SKIN)
    p.poly([(-0.22, -0.78), (-0.16, -0.98), (0.16, -0.98), (0.22, -0.8), (0.0, -0.88)], hair)
    for s in (-1, 1):
        p.oval(s * 0.08, -0.76, 0.03, fill=INK)
    p.line([(-0.07, -0.63), (0.07, -0.63)], 0.03, (170, 70, 70))


def sheep(p: Pen, rng: np.random.Generator) -> None:
    _legs(p, (-0.42, -0.26, 0.2, 0.36), 0.3, 0.9, 0.1, (50, 46, 48))
    for a in np.arange(0, 2 * np.pi, np.pi / 6):
        p.oval(-0.06 + 0.5 * math.cos(a), 0.08 + 0.32 * math.sin(a), 0.21, fill=p.c, body=True)
    p.oval(-0.06, 0.08, 0.52, 0.36, p.c, True)
    for x, y in ((-0.36, 0.0), (-0.1, -0.14), (-0.14, 0.2), (0.2, 0.1)):
        p.line([(x - 0.09, y), (x, y + 0.06), (x + 0.09, y)], 0.035, mix(p.c, (90, 90, 90), 0.45))
    face = (58, 52, 54) if sum(p.c) > 200 else (206, 190, 176)
    p.oval(0.62, -0.24, 0.19, 0.27, face, False, -16)
    p.oval(0.44, -0.3, 0.14, 0.06, face, False, 24)
    p.oval(0.84, -0.3, 0.13, 0.06, face, False, -24)
    for x, y, r in ((0.5, -0.48, 0.12), (0.62, -0.54, 0.13), (0.74, -0.48, 0.11)):
        p.oval(x, y, r, fill=p.c)
    for x in (0.57, 0.7):
        p.oval(x, -0.28, 0.045, fill=(252, 252, 252))
        p.oval(x, -0.28, 0.025, fill=INK)


def sofa(p: Pen, rng: np.random.Generator) -> None:
    for x in (-0.8, 0.8):
        p.box(x - 0.06, 0.5, x + 0.06, 0.74, (80, 54, 36))
    p.box(-0.84, -0.5, 0.84, 0.4, p.dark, False, 0.16)
    p.box(-0.7, -0.4, -0.02, 0.12, p.c, True, 0.08)
    p.box(0.02, -0.4, 0.7, 0.12, p.c, True, 0.08)
    p.box(-0.74, 0.1, 0.0, 0.34, p.light, True, 0.08)
    p.box(0.0, 0.1, 0.74, 0.34, p.light, True, 0.08)
    p.box(-0.9, 0.32, 0.9, 0.58, p.c, True, 0.04)
    for x in (-0.88, 0.88):
        p.box(x - 0.14, -0.14, x + 0.14, 0.58, p.c, True, 0.13)
        p.box(x - 0.06, -0.04, x + 0.06, 0.5, p.dark, False, 0.05)


def train(p: Pen, rng: np.random.Generator) -> None:
    for i in range(3):
        p.oval(0.56 - 0.3 * i, -0.8 - 0.06 * i, 0.14 + 0.04 * i, 0.12 + 0.03 * i, (226, 228, 232))
    p.box(-1.15, 0.84, 1.15, 0.9, (110, 84, 60))
    p.box(0.48, -0.66, 0.66, -0.2, INK)
    p.box(0.42, -0.72, 0.72, -0.6, INK)
    p.box(-0.3, -0.28, 0.86, 0.34, p.c, True, 0.16)
    p.oval(0.1, -0.32, 0.14, 0.12, (226, 178, 60))
    p.box(-0.95, -0.72, -0.22, 0.34, p.c, True)
    p.box(-1.02, -0.82, -0.14, -0.68, INK)
    p.box(-0.78, -0.56, -0.42, -0.14, GLASS)
    p.box(-0.98, 0.3, 0.92, 0.46, (176, 40, 40))
    p.poly([(0.88, 0.4), (1.14, 0.8), (0.72, 0.8)], (120, 124, 130))
    p.oval(0.88, -0.08, 0.09, fill=(255, 240, 160))
    for x, r in ((-0.64, 0.27), (-0.06, 0.22), (0.42, 0.22)):
        wheel(p, x, 0.82 - r, r)
    p.line([(-0.64, 0.56), (0.42, 0.6)], 0.06, METAL)


def tvmonitor(p: Pen, rng: np.random.Generator) -> None:
    p.box(-0.12, 0.5, 0.12, 0.82, p.dark)
    p.box(-0.46, 0.78, 0.46, 0.92, p.dark, False, 0.06)
    p.box(-0.98, -0.72, 0.98, 0.56, p.c, True, 0.07)
    tone = ((66, 134, 196), (60, 160, 140), (120, 110, 190))[int(rng.integers(3))]
    p.box(-0.86, -0.6, 0.86, 0.42, tone)
    p.poly([(-0.86, 0.42), (-0.3, -0.12), (0.1, 0.2), (0.36, 0.0), (0.86, 0.42)], (70, 130, 70))
    p.oval(0.5, -0.32, 0.15, fill=(252, 226, 110))
    p.poly([(-0.86, -0.6), (-0.5, -0.6), (-0.8, 0.1), (-0.86, 0.1)], mix(tone, (255, 255, 255), 0.4))


DRAW = {name: globals()[name] for name in CATEGORIES}

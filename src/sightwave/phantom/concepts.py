"""Phantom concepts and scenes: what a picture shows, and every truthful way of saying it.

Flow: concept, exemplar, seed -> `imagine` -> `Scene` -> `pictures.paint`, `Scene.captions`, `features.features`.
Everything is a pure function of (concept, exemplar, seed).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from sightwave.errors import one_of

CATEGORIES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "flower", "horse", "motorbike", "person", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
COLOURS = {
    "red": (208, 48, 44), "orange": (238, 138, 38), "yellow": (244, 208, 62), "green": (64, 146, 72),
    "blue": (52, 98, 196), "purple": (132, 78, 168), "pink": (238, 148, 178), "brown": (132, 86, 54),
    "black": (44, 44, 50), "white": (242, 242, 240), "grey": (138, 142, 148),
}  # fmt: skip
TEXTURES = ("plain", "striped", "spotted", "checked")
BACKGROUNDS = {
    "sky": "in a blue sky", "clouds": "under a cloudy sky", "grass": "on the grass", "sea": "at sea",
    "room": "in a room", "street": "on a street", "night": "at night", "sand": "on the sand",
    "snow": "in the snow",
}  # fmt: skip
HORIZON = {"sky": 2.0, "clouds": 2.0, "grass": 0.5, "sea": 0.45, "room": 0.62, "street": 0.6,
           "night": 0.72, "sand": 0.5, "snow": 0.55}  # fmt: skip
NOUNS = {"diningtable": ("dining table", "dining tables"), "tvmonitor": ("monitor", "monitors"),
         "sheep": ("sheep", "sheep"), "person": ("person", "people"), "bus": ("bus", "buses")}  # fmt: skip
OUTLINES = ("round", "square", "triangular", "star", "ring", "cross", "wavy", "crescent")
ARMS = ("no", "two", "three", "four", "five", "six", "eight")
NUMBERS = ("one", "two", "three")
PARTS = ("eyes", "flames", "horns", "leaves", "legs", "wheels", "windows", "wings")
"""A nameless concept has two of them: they show in its pictures what kind of thing it is (`features.TAGS`)."""

# What a category usually looks like: (colours, backgrounds); 25 % of scenes ignore the habit.
_PET = ["black", "white", "grey", "brown", "orange"]
_ANY = ["red", "orange", "yellow", "green", "blue", "purple", "white"]
_INDOOR, _ROAD, _FIELD = ["room"], ["street", "night"], ["grass", "snow", "sand"]
HABITS = {
    "aeroplane": (["white", "grey", "red", "blue", "yellow"], ["sky", "clouds", "night"]),
    "bicycle": (_ANY, [*_ROAD, "grass"]),
    "bird": (["red", "blue", "yellow", "brown", "white"], ["sky", "clouds", "grass"]),
    "boat": (_ANY, ["sea"]),
    "bottle": (["green", "brown", "blue", "red", "purple"], [*_INDOOR, "sand"]),
    "bus": (_ANY, _ROAD),
    "car": ([*_ANY, "black", "grey"], [*_ROAD, "sand"]),
    "cat": (_PET, [*_INDOOR, "grass"]),
    "chair": ([*_ANY, "brown"], _INDOOR),
    "cow": (["brown", "white", "black"], ["grass"]),
    "diningtable": (["brown", "white", "grey", "blue"], _INDOOR),
    "dog": (_PET, _FIELD + _INDOOR),
    "flower": (["red", "pink", "yellow", "purple", "white", "orange", "blue"], ["grass", "room"]),
    "horse": (["brown", "black", "white", "grey"], _FIELD),
    "motorbike": ([*_ANY, "black"], _ROAD),
    "person": ([*_ANY, "pink"], list(BACKGROUNDS)[2:]),
    "sheep": (["white", "brown", "black", "grey"], ["grass", "snow"]),
    "sofa": ([*_ANY, "brown", "pink"], _INDOOR),
    "train": (["black", "green", "red", "blue"], ["grass", "snow", "night"]),
    "tvmonitor": (["black", "grey", "white"], _INDOOR),
}
# a colour that would vanish against its background
_CLASH = {"sky": ("blue",), "clouds": ("grey", "white"), "grass": ("green",), "sea": ("blue",), "room": (),
          "street": ("grey",), "night": ("black", "blue"), "sand": ("yellow", "orange"),
          "snow": ("white",)}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """Everything that is true of one picture; sizes and positions are fractions of the side."""

    concept: str
    exemplar: int
    seed: int
    background: str
    colour: str
    second: str
    texture: str
    count: int
    scale: float
    x: float
    y: float
    flip: bool
    tilt: float
    outline: str = ""
    arms: str = ""
    parts: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        """The word for the size, or nothing when it is ordinary."""
        return "small" if self.scale < 0.2 else "large" if self.scale > 0.34 else ""

    @property
    def place(self) -> str:
        """Where the middle of the objects is, in words."""
        return "on the left" if self.x < 0.41 else "on the right" if self.x > 0.59 else "in the middle"

    @property
    def captions(self) -> tuple[str, ...]:
        """Truthful phrasings, the fullest first."""
        many = self.count > 1
        if self.outline:
            noun = f"{self.outline} shape" + ("s" if many else "")
            arms = () if self.arms == "no" else (f"{self.arms} {self.second} arms",)
            tail = "with " + " and ".join((*self.parts, *arms))
        else:
            noun, tail = NOUNS.get(self.concept, (self.concept, self.concept + "s"))[many], ""
        texture = "" if self.texture == "plain" else self.texture
        number, ground = (NUMBERS[self.count - 1] if many else "a"), BACKGROUNDS[self.background]
        full = _say(number, self.size, texture, self.colour, noun, tail)
        short = _say(number, self.colour, noun)
        return (
            _say(full, self.place, ground),
            _say("a picture of", full, ground),
            _say(ground, "there", "are" if many else "is", full, self.place),
            _say(short, tail, ground),
            _say("a drawing of", number, self.size, texture, noun, self.place),
        )


def nameless(n: int, *, start: int = 0) -> tuple[str, ...]:
    """Names of ``n`` nameless concepts."""
    return tuple(f"shape{start + i:04d}" for i in range(n))


def imagine(concept: str, exemplar: int, *, seed: int = 0) -> Scene:
    """Draw the attributes of one exemplar of a concept.

    Parameters
    ----------
    concept : str
        One of `CATEGORIES`, or the name of a nameless concept, ``"shape0042"``.
    exemplar, seed : int
        Which picture of the concept, in which world.

    Raises
    ------
    UnknownName
        If the concept is neither a category nor ``shapeNNNN``.
    """
    named = concept in HABITS
    if not named and not concept.startswith("shape"):
        raise one_of("concept (or 'shapeNNNN')", concept, list(CATEGORIES))
    key = zlib.crc32(concept.encode())
    fixed, rng = np.random.default_rng([seed, key]), np.random.default_rng([seed, key, exemplar + 1])
    names = list(COLOURS)
    if named:
        colours, grounds = HABITS[concept]
        outline, arms = "", ""
        parts: tuple[str, ...] = ()
        texture = rng.choice(TEXTURES, p=(0.4, 0.2, 0.2, 0.2))
    else:  # a nameless concept keeps its shape and parts always, its colours and texture mostly
        outline, arms = fixed.choice(OUTLINES), fixed.choice(ARMS)
        parts = tuple(PARTS[i] for i in sorted(fixed.choice(len(PARTS), 2, replace=False)))
        colours, grounds = [fixed.choice(names)], [fixed.choice(list(BACKGROUNDS))]
        second, texture = fixed.choice(names), fixed.choice(TEXTURES)
        texture = texture if rng.random() < 0.85 else rng.choice(TEXTURES)
    ground = rng.choice(grounds) if rng.random() < (0.75 if named else 0.4) else rng.choice(list(BACKGROUNDS))
    colour = rng.choice(colours) if rng.random() < 0.8 else rng.choice(names)
    while colour in _CLASH[ground]:
        colour = rng.choice(names)
    if named or rng.random() < 0.15 or second == colour:
        second = rng.choice([n for n in names if n != colour])
    count = int(rng.choice([1, 2, 3], p=(0.64, 0.22, 0.14)))
    # three abreast must fit the frame: half extent is 3.05 x scale
    scale = rng.uniform(0.2 if count == 1 else 0.32, 0.46) * (1.0, 0.55, 0.35)[count - 1]
    x = rng.uniform(0.3, 0.7)
    # the row of objects is pushed into the frame here, so that captions and `paint` speak of the same centre
    half = 1.075 * scale * (count - 1)
    x = min(max(x, half + 0.9 * scale), 1 - half - 0.9 * scale)
    horizon = HORIZON[ground]
    foot = rng.uniform(max(min(horizon, 0.8) + 0.08, 0.55 + scale * 0.6), 0.95)
    y = rng.uniform(0.4, 0.6) if horizon > 1 else foot - scale * 0.8
    tilt = rng.uniform(-14, 14) if horizon > 1 or not named else rng.uniform(-4, 4)
    return Scene(concept, exemplar, seed, str(ground), str(colour), str(second), str(texture), count, float(scale),
                 float(x), float(y), bool(rng.random() < 0.5), float(tilt), str(outline), str(arms), parts)  # fmt: skip


def _say(*words: str) -> str:
    return " ".join(w for w in words if w)

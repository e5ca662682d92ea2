"""Find components by looking in their folder: a file in the room is the registration."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

from sightwave.errors import one_of
from sightwave.recipe import Recipe, from_file

ROOMS = ("recipes", "datasets", "targets", "encoders", "losses", "metrics", "decode", "judge", "report", "phantom")


def names(room: str) -> list[str]:
    """List the modules of ``sightwave.<room>``, without its base.

    >>> "project" in names("encoders")
    True
    """
    if room not in ROOMS:
        raise one_of("room", room, ROOMS)
    package = importlib.import_module(f"sightwave.{room}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name != "base")


def find(room: str, name: str) -> ModuleType:
    """Return module ``sightwave.<room>.<name>``, or raise `UnknownName` with the nearest spelling."""
    if name not in names(room):
        raise one_of(room.removesuffix("s"), name, names(room))
    return importlib.import_module(f"sightwave.{room}.{name}")


def members(room: str, base: type) -> list[type]:
    """List the classes defined in a room that are final children of ``base``."""
    found = []
    for name in names(room):
        module = find(room, name)
        for _, c in inspect.getmembers(module, inspect.isclass):
            if c.__module__ == module.__name__ and issubclass(c, base) and not inspect.isabstract(c):
                found.append(c)
    return found


def load_recipe(name: str) -> tuple[str, Recipe]:
    """Find a recipe by name, or by the path of a Python file that defines ``recipe``.

    Returns
    -------
    name : str
        The recipe's or the file's own name.
    recipe : Recipe

    Raises
    ------
    UnknownName, MissingFile, RecipeError
        If there is none.
    """
    if name.endswith(".py") or "/" in name:
        return Path(name).stem, from_file(Path(name))
    return name, find("recipes", name).recipe

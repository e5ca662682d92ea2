"""Find components by looking in their folder: a file in the room is the registration.

And find out which data set a folder holds, by asking each of them.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from sightwave.datasets.base import Dataset
from sightwave.errors import DataError, MissingFile, RecipeError, one_of
from sightwave.files import must_exist
from sightwave.recipe import Recipe, module_from

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


def members(room: str, base: type) -> list[Any]:
    """List the classes defined in a room that are final children of ``base``."""
    found = []
    for name in names(room):
        module = find(room, name)
        for _, c in inspect.getmembers(module, inspect.isclass):
            if c.__module__ == module.__name__ and issubclass(c, base) and not inspect.isabstract(c):
                found.append(c)
    return found


def load_recipe(name: str, settings: Mapping[str, str] | None = None) -> tuple[str, Recipe]:
    """Find a recipe, or a variant of one.

    Parameters
    ----------
    name : str
        ``"category_heads"``, the path of a Python file that defines ``recipe``, or either with a variant behind it:
        ``"category_heads:mlp"``.
    settings : mapping of str to str or None
        Fields of its data set that are wanted otherwise, see `with_settings`.

    Returns
    -------
    name : str
        The recipe's or the file's own name, as results are called: ``"category_heads-mlp"``.
    recipe : Recipe

    Raises
    ------
    UnknownName, MissingFile, RecipeError
        If there is none.
    """
    base, variant = _parted(name)
    module, own = _module(base), Path(base).stem if _is_file(base) else base
    found: Recipe = module.recipe
    if variant:
        known = variants(base)
        if variant not in known:
            raise one_of(f"variant of {own}", variant, known)
        own, found = f"{own}-{variant}", known[variant]()
    return own, replace(found, dataset=with_settings(found.dataset, settings)) if settings else found


def variants(name: str, group: str = "") -> dict[str, Callable[[], Recipe]]:
    """List the variants of a recipe, by name: its module's ``variants``, each a function without arguments.

    Parameters
    ----------
    name : str
        A recipe's name or file.
    group : str
        Only those that the module's ``groups``, a dict of str to names, lists under this name.

    Raises
    ------
    UnknownName
        If there is no such recipe or group.
    """
    module = _module(name)
    found: dict[str, Callable[[], Recipe]] = getattr(module, "variants", {})
    if not group:
        return found
    groups: dict[str, tuple[str, ...]] = getattr(module, "groups", {})
    if group not in groups:
        raise one_of(f"group of variants of {name}", group, groups)
    return {v: found[v] for v in groups[group]}


def _is_file(name: str) -> bool:
    return name.endswith(".py") or "/" in name


def _parted(name: str) -> tuple[str, str]:
    """Part the variant from a recipe's name or file."""
    base, colon, variant = name.rpartition(":")
    # a colon inside a path is not ours
    return (base, variant) if colon and "/" not in variant and not variant.endswith(".py") else (name, "")


def _module(name: str) -> ModuleType:
    return module_from(Path(name)) if _is_file(name) else find("recipes", name)


def name_of(dataset: Dataset) -> str:
    """Return the name of a data set's module, which is what the command line calls it."""
    return type(dataset).__module__.rpartition(".")[2]


def dataset(name: str) -> type[Dataset]:
    """Return the class of a data set by the name of its module; "things-eeg2" is "things_eeg2"."""
    module = find("datasets", name.replace("-", "_"))
    return next(c for c in members("datasets", Dataset) if c.__module__ == module.__name__)


def recognise(root: Path, *, like: str = "", settings: Mapping[str, str] | None = None) -> tuple[Dataset, ...]:
    """Tell which data set a folder holds: every data set is asked, and the most specific answer counts.

    Parameters
    ----------
    root : Path
    like : str
        Ask only the data set of this name.
    settings : mapping of str to str or None
        Fields of the data set that are wanted otherwise than recognised, as text: ``{"task": "rsvp"}``.

    Returns
    -------
    tuple of Dataset
        The one to take first; the rest are other tasks or variants that the folder holds as well.

    Raises
    ------
    MissingFile
        If no data set knows the folder: says what was looked for, and which of the folders in it would do.
    DataError
        If two different data sets do.
    """
    if must_exist(root, "folder").is_file():
        raise DataError(f"{root} is a file; give the folder that it lies in.")
    if like:
        kind = dataset(like)
        if not kind.looks_for:
            raise RecipeError(f"The data set {like!r} needs no folder, so there is nothing to recognise.")
        found = kind.recognise(root) or (kind(),)
    else:
        found = _asked(root)
    return (with_settings(found[0], settings or {}), *found[1:])


def _asked(root: Path) -> tuple[Dataset, ...]:
    kinds = [c for c in members("datasets", Dataset) if c.looks_for]
    answers = [a for c in kinds if (a := c.recognise(root))]
    answers = [a for a in answers if not a[0].generic] or answers
    if len(answers) > 1:
        shown = ", ".join(name_of(a[0]) for a in answers)
        raise DataError(
            f"{root} holds files of {len(answers)} data sets: {shown}. Say which with --like NAME, or give the folder "
            f"of one of them."
        )
    if answers:
        return answers[0]
    there = sorted(p.name for p in root.iterdir())
    near = [root / name for name in there[:50] if (root / name).is_dir()]
    hints = [f"{p} ({c.__module__.rpartition('.')[2]})" for p in near for c in kinds if c.recognise(p)]
    width = max(len(c.__module__.rpartition(".")[2]) for c in kinds)
    known = "\n".join(f"  {c.__module__.rpartition('.')[2]:<{width}}  {c.looks_for}" for c in kinds)
    raise MissingFile(
        f"No data set was recognised in {root}. It holds {', '.join(there[:8]) or 'nothing'}"
        f"{f' and {len(there) - 8} more' if len(there) > 8 else ''}.\n"
        + (f"Did you mean {' or '.join(hints[:3])}?\n" if hints else "")
        + f"Looked for:\n{known}\nBring your recordings into one of these forms (`own` is the simplest, and "
        f"sightwave.write_own writes it), or say with --like NAME which of them it is."
    )


def pairs(settings: Iterable[str]) -> dict[str, str]:
    """Read ``["task=rsvp"]`` as {"task": "rsvp"}; what is no such pair is a `RecipeError`."""
    for text in settings:
        if not text.partition("=")[1]:
            raise RecipeError(f"--set takes a name and a value, such as task=rsvp; got {text!r}.")
    return {text.partition("=")[0].strip(): text.partition("=")[2].strip() for text in settings}


def with_settings(found: Dataset, given: Mapping[str, str]) -> Dataset:
    """Change fields of a data set, each read as JSON where that is possible and as text where it is not.

    Parameters
    ----------
    found : Dataset
    given : mapping of str to str

    Raises
    ------
    UnknownName, RecipeError
        If it has no such field, or the value is of another kind.
    """

    def fits(value: Any, own: Any) -> bool:
        # a whole number may stand for any number; true and false only for themselves
        return type(value) in ((int, float) if type(own) is float else (type(own),))

    known = {f.name: f.type for f in fields(found)}
    values: dict[str, Any] = {}
    for field, text in given.items():
        if field not in known:
            raise one_of(f"field of {type(found).__name__}", field, known)
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        own = getattr(found, field)
        if isinstance(own, str):
            value = text
        elif isinstance(own, tuple):
            value = tuple(value if isinstance(value, list) else filter(None, map(str.strip, text.split(","))))
            if own and type(own[0]) is int:
                value = tuple(int(v) if str(v).isdigit() else v for v in value)
            if own and not all(type(v) is type(own[0]) for v in value):
                raise RecipeError(f"{type(found).__name__}.{field} takes values such as {list(own)}; got {text!r}.")
        elif not (own is None or fits(value, own) or (value is None and "None" in str(known[field]))):
            kind = {int: "a whole number", float: "a number", bool: "true or false"}.get(type(own), "another kind")
            raise RecipeError(f"{type(found).__name__}.{field} takes {kind}, such as {json.dumps(own)}; got {text!r}.")
        values[field] = value
    return replace(found, **values)

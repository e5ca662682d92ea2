import json
import string
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightwave.describe import describe, key
from sightwave.errors import (
    DataError,
    ExtraMissing,
    LeakError,
    MissingFile,
    ModelMissing,
    RecipeError,
    ResumeError,
    SealError,
    ShapeError,
    SightwaveError,
    SpaceError,
    UnitError,
    UnknownName,
    one_of,
)


@dataclass(frozen=True)
class Inner:
    size: int = 3


@dataclass(frozen=True)
class Outer:
    name: str = "x"
    inner: Inner = field(default_factory=Inner)
    weights: tuple[float, ...] = (1.0, 2.0)
    _fitted: float | None = None


class Module:
    def __init__(self, n_channels, *, width=64, act=None):
        self.width = width


def named(x, *, by=2):
    return x * by


def test_defaults_are_spelt_out():
    assert describe(Outer()) == {
        "use": f"{__name__}.Outer",
        "name": "x",
        "inner": {"use": f"{__name__}.Inner", "size": 3},
        "weights": [1.0, 2.0],
    }


def test_a_partial_of_a_class_shows_what_was_given_and_what_was_not():
    assert describe(partial(Module, width=8)) == {"use": f"{__name__}.Module", "width": 8, "act": None}
    assert describe(Module) == {"use": f"{__name__}.Module", "width": 64, "act": None}
    assert describe(partial(named, by=3)) == {"use": f"{__name__}.named", "by": 3}
    assert describe(named) == {"use": f"{__name__}.named"}


def test_a_partial_that_gives_only_defaults_is_the_class_itself():
    assert key(partial(Module, width=64)) == key(Module)


@pytest.mark.parametrize(
    "x",
    [Outer(), partial(Module, act=np.tanh), np.arange(3), {"a": {1, 2}}, Path("a/b"), np.float32(0.5), 1j, None],
)
def test_every_description_is_json(x):
    assert json.loads(json.dumps(describe(x))) == describe(x)


@pytest.mark.parametrize(
    "changed",
    [
        replace(Outer(), name="y"),
        replace(Outer(), inner=Inner(4)),
        replace(Outer(), weights=(2.0, 1.0)),
        replace(Outer(), weights=(1.0, 2.0, 0.0)),
        replace(Outer(), weights=(1.0, np.nextafter(2.0, 3.0))),
    ],
)
def test_the_key_changes_with_each_field(changed):
    assert key(changed) != key(Outer())


def test_working_state_does_not_change_the_key():
    assert key(replace(Outer(), _fitted=0.5)) == key(Outer())


def test_the_key_of_an_array_is_that_of_its_content():
    x = np.arange(6, dtype="f4")
    assert key(x) == key(x.copy()) == key(np.arange(12, dtype="f4")[:6])
    assert len({key(x), key(x + 1), key(x.reshape(2, 3)), key(x.astype("f8")), key(x.view("i4"))}) == 5


def test_the_key_of_a_turned_array_is_that_of_its_values():
    x = np.arange(6.0).reshape(2, 3)
    assert key(x.T) == key(x.T.copy())
    assert key(x.T) != key(x.reshape(3, 2))


def test_the_order_of_sets_and_mappings_does_not_matter():
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key({"x", "y", "z"}) == key({"z", "y", "x"})


def test_two_classes_with_equal_fields_have_different_keys():
    @dataclass(frozen=True)
    class Other:
        size: int = 3

    assert key(Other()) != key(Inner())


def test_the_key_is_the_same_on_every_machine():
    """A literal: if this changes, every cache and every recorded recipe changes its name."""
    assert key({"a": [1, "b", None, 0.5, True]}) == "e00b02d976af9266"
    assert set(key(1)) <= set(string.hexdigits)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x, max_size=4)))
def test_plain_values_describe_themselves(x):
    assert describe(x) == x


ERRORS = (
    (ShapeError, ValueError),
    (DataError, ValueError),
    (UnitError, DataError),
    (MissingFile, FileNotFoundError),
    (LeakError, ValueError),
    (SealError, RuntimeError),
    (SpaceError, ValueError),
    (RecipeError, ValueError),
    (UnknownName, KeyError),
    (ExtraMissing, ImportError),
    (ModelMissing, OSError),
    (ResumeError, RuntimeError),
)


@pytest.mark.parametrize(("error", "builtin"), ERRORS)
def test_every_error_is_ours_and_the_one_a_caller_expects(error, builtin):
    assert issubclass(error, SightwaveError)
    assert issubclass(error, builtin)
    assert str(error("line one\nline two")) == "line one\nline two"


def test_no_error_is_missing_from_this_file():
    from sightwave import errors

    ours = {e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, SightwaveError)}
    assert ours - {SightwaveError} == {e for e, _ in ERRORS}


def test_a_misspelt_name_is_answered_with_the_nearest():
    assert str(one_of("channel", "OZ1", ["Oz", "Pz"])) == "No channel named 'OZ1'. Known: Oz, Pz."
    assert "Did you mean 'retrieve'?" in str(one_of("task", "retreive", ["classify", "retrieve"]))

"""Parameters are read from the source of a cell, and values are held against their types."""

import re

import pytest

from aelib.runner.parameters import Parameter, read_parameters


def test_reads_names_types_defaults_and_comments():
    found = read_parameters(
        "# sizes\n"
        'profile: str = "quick"  # "quick" or "full"\n'
        "epochs: int = 3\n"
        "rate = 1e-3  # per step\n"
        "limit: int | None = None\n"
        "sizes: list[int] = [1, -2]\n"
    )
    assert [str(item) for item in found.values()] == [
        'profile: str = \'quick\'  # "quick" or "full"',
        "epochs: int = 3",
        "rate: float = 0.001  # per step",
        "limit: int | None = None",
        "sizes: list[int] = [1, -2]",
    ]


@pytest.mark.parametrize(
    "source", ["import os", "a = f()", "a: int = b", "a, b = 1, 2", "a: set = 1", "a: int", "a = ["]
)
def test_refuses_what_is_no_literal_of_a_known_type(source):
    with pytest.raises(ValueError):
        read_parameters(source)


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("int", "3", 3),
        ("float", "3", 3.0),
        ("float", "1e-3", 0.001),
        ("bool", "False", False),
        ("bool", "yes", True),
        ("str", "3", "3"),
        ("int | None", "None", None),
        ("int | None", "4", 4),
        ("list[int]", "[1, 2]", [1, 2]),
    ],
)
def test_reads_a_value_as_its_type(type_, text, value):
    result = Parameter("a", type_, None).read(text)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("int", "abc"),
        ("int", "1.0"),
        ("float", "x"),
        ("float", "nan"),
        ("bool", "2"),
        ("list", "3"),
        ("int", ""),
        ("int | None", "abc"),
        ("list", "[1e999]"),
        ("list", "[{1}, b'a']"),
        ("str", "\udcff"),
    ],
)
def test_refuses_a_text_of_another_type(type_, text):
    with pytest.raises(ValueError, match=f"`a` must be of type {re.escape(type_)}.*Received: a="):
        Parameter("a", type_, None).read(text)


@pytest.mark.parametrize(
    ("type_", "value", "fits"),
    [
        ("int", 3, True),
        ("float", 3, True),
        ("float", "1e-3", False),
        ("int", 3.0, False),
        ("int", True, False),
        ("float", True, False),
        ("float", float("inf"), False),
        ("bool", True, True),
        ("bool", 1, False),
        ("str", "a", True),
        ("str", None, False),
        ("int | None", None, True),
        ("list", [1], True),
        ("list", [float("nan")], False),
        ("list", [{1}], False),
    ],
)
def test_checks_a_value_from_a_profile(type_, value, fits):
    parameter = Parameter("a", type_, None)
    if fits:
        assert parameter.check(value) == value
    else:
        with pytest.raises(ValueError, match="Received: a="):
            parameter.check(value)

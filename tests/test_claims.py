"""A claim must be able to fail: by its number, by its baseline, by not being a number."""

import json
import math

import numpy as np
import pytest

from aelib import claims
from aelib.published import PUBLISHED


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv(claims.EVENTS_VARIABLE, raising=False)
    claims.begin(datasets=["digits"])


@pytest.mark.parametrize(
    ("relation", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
        ("==", False, True, False),
    ],
)
def test_every_relation(relation, below, equal, above):
    for measured, holds in ((1.0, below), (2.0, equal), (3.0, above)):
        if holds:
            claims.claim("two is the bound", measured, relation, 2.0)
        else:
            with pytest.raises(claims.ClaimFailed, match="two is the bound"):
                claims.claim("two is the bound", measured, relation, 2.0)


def test_a_claim_that_its_baseline_meets_as_well_fails():
    claims.claim("better than the baseline", 1.0, "<", 2.0, baseline=2.5)
    for baseline in (1.5, 0.1):
        with pytest.raises(claims.ClaimFailed, match="the baseline meets the bound as well"):
            claims.claim("better than the baseline", 1.0, "<", 2.0, baseline=baseline)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["measured", "bound", "baseline"])
def test_what_is_not_finite_fails(name, value):
    numbers = {"measured": 1.0, "bound": 2.0, "baseline": 3.0, name: value}
    with pytest.raises(claims.ClaimFailed, match=f"{name} is {value}"):
        claims.claim(
            "finite", numbers["measured"], "<", numbers["bound"], baseline=numbers["baseline"]
        )


def test_a_failed_claim_is_an_assertion_error():
    assert issubclass(claims.ClaimFailed, AssertionError)


def test_numpy_numbers_are_numbers_and_arrays_are_not():
    claims.claim("a number of NumPy", np.float32(1), "<", np.array(2.0), baseline=np.int64(3))
    with pytest.raises(ValueError, match=r"Received: measured=array\(\[1, 2\]\)"):
        claims.claim("an array", np.array([1, 2]), "<", 3)


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        (("", 1, "<", 2), "statement=''"),
        (("text", 1, "=<", 2), "relation='=<'"),
        (("text", "one", "<", 2), "measured='one'"),
        (("text", 1, "<", None), "bound=None"),
    ],
)
def test_bad_arguments_are_refused(arguments, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        claims.claim(*arguments)


def test_on_a_readers_own_data_claims_are_marked_and_never_raised(capsys):
    claims.begin(datasets=["my.npz"], binding=False)
    claims.claim("holds", 1, "<", 2)
    claims.claim("does not", 3, "<", 2)
    claims.claim("nor this", math.nan, "<", 2, baseline=1)
    holds, does_not, nor_this = capsys.readouterr().out.splitlines()
    assert holds.startswith("✓")
    assert does_not.startswith("○") and "only reported" in does_not
    assert nor_this.startswith("○")


def test_an_aim_that_fails_is_shown_and_kept_as_failing_and_does_not_stop(
    tmp_path, monkeypatch, capsys
):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(claims.EVENTS_VARIABLE, str(path))
    claims.begin(datasets=["mnist"])
    claims.claim("not yet", 3, "<", 2, stops=False)
    assert capsys.readouterr().out.startswith("✗ not yet: 3 < 2")
    assert json.loads(path.read_text().splitlines()[-1])["holds"] is False
    with pytest.raises(claims.ClaimFailed):
        claims.claim("a promise", 3, "<", 2)


def test_the_printed_line_has_all_that_was_said(capsys):
    claims.claim("short", 1.23456, "<=", 2, baseline=43.654, unit="nats", source="Somebody 1999")
    line = capsys.readouterr().out.strip()
    assert line == "✓ short: 1.235 <= 2 nats (baseline 43.65) [Somebody 1999]"


def test_events_are_kept_line_by_line_also_of_claims_that_fail(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(claims.EVENTS_VARIABLE, str(path))
    claims.begin(datasets=["mnist"])
    claims.record("sse_2d", np.float32(26), unit="squared error per image")
    with pytest.raises(claims.ClaimFailed):
        claims.claim("fails", 3, "<", 2, unit="bits")
    begin, record, claim = map(json.loads, path.read_text().splitlines())
    assert begin["kind"] == "begin" and begin["datasets"] == ["mnist"]
    assert begin["device"] and begin["versions"]["aelib"]
    assert record == {
        "kind": "record",
        "name": "sse_2d",
        "value": 26.0,
        "unit": "squared error per image",
    }
    assert claim["holds"] is False and claim["measured"] == 3.0 and claim["unit"] == "bits"


@pytest.mark.parametrize(
    ("name", "value"), [("two words", 1.0), (7, 1.0), ("nan", math.nan), ("text", "one")]
)
def test_a_record_is_a_named_finite_number(name, value):
    with pytest.raises(ValueError, match="Received: "):
        claims.record(name, value, unit="")


def test_the_table_stands_beside_the_published_numbers():
    claims.record("pca_sse_30", 13.868, unit="squared error per image")
    claims.record("unpublished", 0.5, unit="fraction")
    *_, known, unknown = claims.paper_table().splitlines()
    assert known == (
        "| `pca_sse_30` | squared error per image | 13.87 | 13.87 | Hinton & Salakhutdinov 2006 |"
    )
    assert unknown == "| `unpublished` | fraction | 0.5000 |  |  |"
    assert "here, on digits" in claims.paper_table()


def test_a_new_notebook_starts_a_new_list():
    claims.record("first", 1.0, unit="")
    claims.begin(datasets=["digits"])
    assert "first" not in claims.paper_table()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3.0, "3"), (0.12345, "0.1235"), (43.654, "43.65"), (1e-9, "1e-09"), (2e7, "2e+07")],
)
def test_numbers_are_printed_with_four_digits(value, text):
    assert claims.format_number(value) == text


def test_published_numbers_are_finite_and_have_a_source():
    for name, published in PUBLISHED.items():
        assert name.isidentifier() and math.isfinite(published.value) and published.source

"""A claim must be able to fail: by its number, by its baseline, by not being a number."""

import csv
import html
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import keras
import nbclient
import nbformat
import numpy as np
import pytest

from aelib import claims
from aelib.published import PUBLISHED


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv(claims.EVENTS_VARIABLE, raising=False)
    claims.begin(datasets=["digits"])


def not_reached() -> str:
    """What `finish` raises."""
    with pytest.raises(claims.ClaimFailed) as raised:
        claims.finish()
    return str(raised.value)


def executed(*sources: str) -> list:
    """The outputs of cells that a kernel ran, errors included."""
    cells = [nbformat.v4.new_code_cell(f"from aelib import claims\n{text}") for text in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(
        notebook, timeout=60, kernel_name="python3", allow_errors=True
    ).execute()
    return [output for cell in notebook.cells for output in cell.outputs]


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
        claims.claim("two is the bound", measured, relation, 2.0)
        if holds:
            claims.finish()
        else:
            assert (
                f"two is the bound: measured {measured:.0f}, needed {relation} 2" in not_reached()
            )


def test_a_claim_that_its_baseline_meets_as_well_fails():
    claims.claim("better than the baseline", 1.0, "<", 2.0, baseline=2.5)
    claims.finish()
    for baseline in (1.5, 0.1):
        claims.claim("better than the baseline", 1.0, "<", 2.0, baseline=baseline)
        assert "the baseline meets the bound as well" in not_reached()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["measured", "bound", "baseline"])
def test_what_is_not_finite_fails(name, value):
    numbers = {"measured": 1.0, "bound": 2.0, "baseline": 3.0, name: value}
    claims.claim("finite", numbers["measured"], "<", numbers["bound"], baseline=numbers["baseline"])
    assert f"finite: {name} is {value}" in not_reached()


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
        ((7, 1, "<", 2), "statement=7"),
    ],
)
def test_bad_arguments_are_refused(arguments, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        claims.claim(*arguments)
    with pytest.raises(claims.ClaimFailed, match="No claims were made"):
        claims.finish()


def test_finish_names_all_that_failed_and_only_these(capsys):
    claims.claim("this holds", 1, "<", 2)
    claims.claim("this fails", 0.7942, ">=", 0.8)
    claims.claim("repaired by a second run of its cell", 3, "<", 2)
    claims.claim("repaired by a second run of its cell", 1, "<", 2)
    claims.claim("broken by a second run of its cell", 1, "<", 2)
    claims.claim("broken by a second run of its cell", 5, "<", 2)
    said = not_reached()
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 4 claims hold"
    assert said.splitlines()[1:] == [
        "✗ this fails: measured 0.7942, needed >= 0.8000",
        "✗ broken by a second run of its cell: measured 5, needed < 2",
    ]
    assert not_reached() == said


def test_finish_says_how_many_claims_hold_and_formulas_agree(capsys):
    claims.claim("one", 1, "<", 2)
    claims.finish()
    claims.same("f is the library's", 1, 1)
    claims.finish()
    claims.same("g is the library's", [1, 2], [1, 2])
    claims.finish()
    said = [line for line in capsys.readouterr().out.splitlines() if line[0] not in "✓✗"]
    assert said == [
        "1 of 1 claims hold",
        "1 of 1 claims hold and 1 formula is the library's",
        "1 of 1 claims hold and 2 formulas are the library's",
    ]
    claims.begin(datasets=["digits"])
    claims.same("f is the library's", 1, 1)
    claims.same("g is the library's", 1, 2)
    assert not_reached().startswith("1 of 2 formulas are the library's. Not reached:\n✗ g is")


def test_a_miss_that_rounding_would_hide_is_shown_with_more_digits():
    claims.claim("close", 0.79999, ">=", 0.8)
    assert "measured 0.79999, needed >= 0.8000" in not_reached()


def test_claims_need_no_numpy():
    program = "import sys; from aelib import claims; print({'numpy', 'IPython'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        (1.0, 1.0 + 2e-6, 2e-6),
        (np.zeros((2, 3)), np.full((2, 3), -0.5), 0.5),
        ([1000.0, 1.0], [1000.0, 2.0], 1e-3),  # relative to the largest, not to its own pair
        ([-2000.0, 1.0], [-2000.0, 2.0], 5e-4),
        ([0.5, -0.25], [0.5, 0.25], 0.5),
        (np.float16(1), keras.ops.ones(()), 0.0),
    ],
)
def test_formulas_differ_by_the_largest_difference_over_the_largest_value(
    ours, theirs, difference, monkeypatch, tmp_path
):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(claims.EVENTS_VARIABLE, str(path))
    claims.same("it is the library's", ours, theirs, tolerance=1e-4)
    kept = json.loads(path.read_text())
    assert kept["measured"] == pytest.approx(difference, rel=1e-5)
    assert kept["holds"] is (difference <= 1e-4)
    assert (kept["relation"], kept["bound"], kept["baseline"]) == ("<=", 1e-4, None)
    assert (kept["unit"], kept["source"]) == ("largest difference", claims.FORMULA)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_formulas_that_are_not_finite_fail_also_where_both_are(value):
    for ours, theirs in (([1, value], [1, 1]), ([1, 1], [1, value]), ([value], [value])):
        claims.same("it is the library's", ours, theirs)
        assert "not a finite number" in not_reached()


@pytest.mark.parametrize(
    ("ours", "theirs", "received"),
    [
        ([1, 2], [[1, 2]], r"ours.shape=\(2,\), theirs.shape=\(1, 2\)"),
        ([1, 1], 1, r"ours.shape=\(2,\), theirs.shape=\(\)"),
        ([], [], r"ours.shape=\(0,\)"),
        ("one", 1, "ours='one'"),
        (1, [[1], [1, 2]], r"theirs=\[\[1\], \[1, 2\]\]"),
    ],
)
def test_formulas_of_different_shapes_are_refused(ours, theirs, received):
    with pytest.raises(ValueError, match=f"Received: {received}"):
        claims.same("it is the library's", ours, theirs)


def test_on_a_readers_own_data_claims_are_marked_and_never_raised(capsys):
    claims.begin(datasets=["my.npz"], binding=False)
    claims.claim("holds", 1, "<", 2)
    claims.claim("does not", 3, "<", 2)
    claims.claim("nor this", math.nan, "<", 2, baseline=1)
    holds, does_not, nor_this = capsys.readouterr().out.splitlines()
    assert holds.startswith("✓")
    assert does_not.startswith("○") and "only reported" in does_not
    assert nor_this.startswith("○")
    claims.finish()
    assert capsys.readouterr().out.startswith("1 of 3 claims hold, on data")
    claims.begin(datasets=["my.npz"], binding=False)
    claims.finish()


def test_control_characters_are_shown_and_never_sent(capsys):
    claims.claim("a\x1b]0;t\x07\nb\ud800", 3, "<", 2, unit="\x1b[2J", source="\x9b1m\u202e")
    said = capsys.readouterr().out.strip() + not_reached()
    assert all(c.isprintable() or c == "\n" for c in said)
    assert said.startswith(r"✗ a\x1b]0;t\x07 b\ud800: 3 < 2 \x1b[2J [\x9b1m\u202e]")


def test_names_of_data_are_shown_and_never_sent():
    claims.begin(datasets=["\x1b[2J\udcff.npz"])
    assert r"here, on \x1b[2J\udcff.npz |" in claims.paper_table()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_stream_without_such_letters_gets_others(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    claims.claim("Jürgen", 3, "<", 2, unit="\ud800")
    claims.begin(datasets=["digits"], binding=False)
    claims.finish()
    said = stream.buffer.getvalue().decode(encoding)
    letters = "✗ Jürgen".encode(encoding, "backslashreplace").decode(encoding)
    assert said.startswith(rf"{letters}: 3 < 2 \ud800 ")


def test_a_kernel_shows_claims_as_markdown_beside_the_plain_line():
    begin = "claims.begin(datasets=['digits'])\n"
    call = "claims.claim('It |is| *less_than* `1` <b>$x$ & [y]', 0.5, '<=', 1, {})"
    outputs = executed(
        begin + call.format("baseline=43.654, unit='nats', source='Somebody_1999'"),
        "claims.claim('It is more', 0.5, '>=', 1)",
        "claims.finish()",
        begin.replace("])", "], binding=False)") + "claims.claim('It is more', 0.5, '>', 1)",
    )
    holds, fails, end, error, own = outputs
    assert {item.output_type for item in (holds, fails, own)} == {"display_data"}
    statement, numbers = holds.data["text/markdown"].split("  \n")
    assert statement == (
        r"**✓ It \|is\| \*less\_than\* \`1\` \<b\><span>\$</span>x<span>\$</span> \& \[y\]**"
    )
    assert numbers == r"measured **0.5000** ≤ 1 nats, baseline 43.65, Somebody\_1999"
    assert holds.data["text/plain"] == (
        "✓ It |is| *less_than* `1` <b>$x$ & [y]: 0.5000 <= 1 nats (baseline 43.65) [Somebody_1999]"
    )
    assert fails.data["text/markdown"] == (
        "**✗ It is more**  \nmeasured **0.5000** ≥ 1 — fails: measured 0.5000, needed ≥ 1"
    )
    assert fails.data["text/plain"].startswith("✗ It is more: 0.5000 >= 1 — fails")
    assert end.text == "1 of 2 claims hold\n"
    assert (error.ename, error.evalue.splitlines()[-1]) == (
        "ClaimFailed",
        "✗ It is more: measured 0.5000, needed >= 1",
    )
    assert own.data["text/markdown"].startswith(r"**○ It is more**")
    assert own.data["text/plain"].startswith("○ It is more")


def test_what_markdown_would_eat_arrives_on_a_page():
    from nbconvert.filters import markdown2html

    statement = r"a |b| *c* _d_ $e$ <i> `f` ~~g~~ [h](i) &lt; \* j"
    (output,) = executed(f"claims.claim({statement!r}, 1, '<', 2, source='2 * 3 < 7 * 1')")
    page = markdown2html(output.data["text/markdown"])
    text = re.sub("<[^>]+>", "", page)
    assert html.unescape(text).split("\n")[0].strip() == f"✓ {statement}"
    assert "2 * 3 < 7 * 1" in html.unescape(text) and "<br" in page


def test_the_printed_line_has_all_that_was_said(capsys):
    claims.claim("short", 1.23456, "<=", 2, baseline=43.654, unit="nats", source="Somebody 1999")
    line = capsys.readouterr().out.strip()
    assert line == "✓ short: 1.235 <= 2 nats (baseline 43.65) [Somebody 1999]"


def test_events_are_kept_line_by_line_also_of_claims_that_fail(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(claims.EVENTS_VARIABLE, str(path))
    claims.begin(datasets=["mnist"])
    claims.record("sse_2d", np.float32(26), unit="squared error per image")
    claims.claim("fails", 3, "<", 2, unit="bits")
    message = not_reached()
    begin, record, claim, finish = map(json.loads, path.read_text().splitlines())
    assert begin["kind"] == "begin" and begin["datasets"] == ["mnist"]
    assert begin["device"] and begin["binding"] is True
    assert finish == {"kind": "finish", "message": message}
    assert record == {
        "kind": "record",
        "name": "sse_2d",
        "value": 26.0,
        "unit": "squared error per image",
    }
    assert claim["holds"] is False and claim["measured"] == 3.0 and claim["unit"] == "bits"


def test_events_are_json_also_of_what_is_not_finite(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(claims.EVENTS_VARIABLE, str(path))
    claims.claim("a", math.nan, "<", math.inf, baseline=-math.inf, unit="NaN")

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    event = json.loads(path.read_text(), parse_constant=refuse)
    assert (event["measured"], event["bound"], event["baseline"]) == (None, None, None)
    assert event["unit"] == "NaN" and event["holds"] is False


def test_two_processes_never_write_into_each_others_lines(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(claims.EVENTS_VARIABLE, str(path))
    program = """if True:
        import sys
        from aelib import claims
        for index in range(200):
            claims.record(f"r{index}", index, unit=sys.argv[1] * 30_000)
    """
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen([*command, letter]) for letter in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    units = [json.loads(line)["unit"] for line in path.read_text().splitlines()]
    assert sorted(units) == ["a" * 30_000] * 200 + ["b" * 30_000] * 200


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
    path = Path(claims.__file__).with_name("published.csv")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(PUBLISHED), "no name twice"
    assert all(re.fullmatch(r"\d\d", row["notebook"]) for row in rows)
    assert PUBLISHED["deep_sse_30"] == (3.0, "Hinton & Salakhutdinov 2006, with pretraining")
    for name, published in PUBLISHED.items():
        assert name.isidentifier() and math.isfinite(published.value) and published.source


def test_a_run_that_only_records_is_finished_too(capsys):
    claims.begin(datasets=["mnist"])
    claims.record("sse", 1.0, unit="squared error per image")
    claims.finish()
    assert capsys.readouterr().out == "1 number recorded\n"


def test_evidence_is_the_kept_table_of_a_study(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "sizes.csv").write_text("method,seed,sse\nPCA,0,13.75\nPCA,1,14.0\n")
    monkeypatch.setattr(claims, "__file__", str(tmp_path / "aelib" / "claims.py"))
    table = claims.evidence("sizes")
    assert list(table.columns) == ["method", "seed", "sse"] and table.sse.sum() == 27.75
    assert claims.evidence(str(tmp_path / "results" / "sizes.csv")).equals(table)
    with pytest.raises(ValueError, match=r"there are sizes\. Received: name='size'"):
        claims.evidence("size")
    (tmp_path / "aelib" / "results").mkdir(parents=True)  # of an installed wheel, which comes first
    with pytest.raises(ValueError, match="there are none"):
        claims.evidence("sizes")

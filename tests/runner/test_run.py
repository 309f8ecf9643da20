"""`aelib run`: what it leaves, what it skips, what it refuses."""

import json
import re
import subprocess
import sys

import nbformat
import pytest
from tiny_notebooks import BEGIN, aelib, write_notebook

from aelib.runner.notebooks import Notebook
from aelib.runner.plan import Plan

KEYS = [
    "notebook",
    "profile",
    "parameters",
    "dataset",
    "device",
    "versions",
    "seconds",
    "claims",
    "records",
]
CLAIM_KEYS = [
    "statement",
    "measured",
    "relation",
    "bound",
    "baseline",
    "unit",
    "source",
    "holds",
]


def test_leaves_results_a_report_and_a_marker_and_is_not_run_twice(house):
    status, output = aelib("run", "-p", "rate", "1", cwd=house)
    assert status == 0, output
    assert "01_good finished" in output and "More is more" in output

    folder = house / "runs" / "quick" / "01_good"
    results = json.loads((folder / "results.json").read_text())
    assert list(results) == KEYS
    assert [list(claim) for claim in results["claims"]] == [CLAIM_KEYS]
    assert results["records"][1] == {"name": "own", "value": 1.0, "unit": "share"}
    assert results["parameters"] == {
        "profile": "quick",
        "seed": 0,
        "dataset": "digits",
        "epochs": 3,
        "rate": 1.0,
        "fast": True,
    }
    assert (results["notebook"], results["profile"]) == ("01_good", "quick")
    assert results["dataset"] == ["digits"] and 0 < results["seconds"] < 60
    assert (folder / "01_good.ipynb").is_file() and (folder / "done.json").is_file()
    assert "More is more" in (house / "runs" / "quick" / "index.html").read_text()

    before = (folder / "done.json").stat().st_mtime_ns
    status, output = aelib("run", "01", "-p", "rate", "1", cwd=house / "notebooks")
    assert status == 0 and "was done already" in output and "More is more" in output
    assert (folder / "done.json").stat().st_mtime_ns == before

    status, output = aelib("run", "good", "-p", "rate", "1", "--force", cwd=house)
    assert status == 0 and "01_good finished" in output

    write_notebook(house / "notebooks" / "01_good.ipynb", BEGIN, "claims.record('a', 1, unit='')")
    status, output = aelib("run", "-p", "rate", "1", cwd=house)
    assert status == 0 and "01_good finished" in output, "another source, another result"


MISSES = [
    "from aelib import claims\nclaims.begin(datasets=['digits'])",
    "claims.claim('Less is\\x1b[2J more', 0.794, '>=', 0.8, baseline=0.5)\nprint('goes on')",
    "claims.claim('It is new', 1, '<', 2, baseline=1.5)\nclaims.same('f is', [1, 2], [1, 2])",
    "claims.claim('It holds', 1, '<', 2)\nclaims.record('own', 1, unit='')",
    "claims.finish()",
]
ON_MNIST = 'seed: int = 1\ndataset: str = "mnist"'


def test_a_missed_claim_is_shown_and_destroys_nothing(house):
    write_notebook(house / "notebooks" / "02_misses.ipynb", *MISSES, parameters=ON_MNIST)
    status, output = aelib("run", cwd=house, AELIB_DATA_DIR=str(house))
    assert status == 1
    assert "Traceback" not in output and "\x1b" not in output
    lines = output.splitlines()
    assert lines[0].startswith("MNIST is not here: drawn digits are used. `aelib data fetch mnist`")
    place = next(i for i, line in enumerate(lines) if "02_misses finished in" in line)
    assert lines[place].endswith(" s, 1 of 3 claims hold and 1 formula is the library's")
    advice = (
        "    Try `aelib data fetch mnist` and `aelib run 02 --force`, "
        "or another seed: `aelib run 02 -p seed 2`"
    )
    assert lines[place + 1 : place + 7] == [
        r"One result was not reached: Less is\x1b[2J more",
        "    measured 0.7940, needed >= 0.8000, on digits (drawn)",
        advice,
        "One result was not reached: It is new",
        "    the baseline meets the bound as well: 1.500 < 2, on digits (drawn)",
        advice,
    ]
    assert lines[-2] == "2 of 2 notebooks finished, 2 results were not reached: 02"

    folder = house / "runs" / "quick" / "02_misses"
    results = json.loads((folder / "results.json").read_text())
    assert list(results) == KEYS
    assert [claim["holds"] for claim in results["claims"]] == [False, False, True, True]
    assert results["claims"][2] == {
        "statement": "f is",
        "measured": 0.0,
        "relation": "<=",
        "bound": 1e-5,
        "baseline": None,
        "unit": "largest difference",
        "source": "the library's formula",
        "holds": True,
    }
    assert results["records"] == [{"name": "own", "value": 1.0, "unit": ""}]
    cells = nbformat.read(folder / "02_misses.ipynb", 4).cells
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    assert "goes on\n" in [item.get("text") for item in shown]
    (first, *_) = [item.data for item in shown if item.output_type == "display_data"]
    assert first["text/markdown"].startswith("**✗ Less") and first["text/plain"][:6] == "✗ Less"

    page = (house / "runs" / "quick" / "index.html").read_text()
    for text in (
        r"2 of 2 notebooks finished</b>,\s+<b class=\"bad\">2 results were not reached</b>:\s+"
        r'<a href="#02_misses">02</a>',
        r"2 of 4 claims hold and 1 formula is the library&#39;s",
        r"MNIST is not here: drawn digits are used. <code>aelib data fetch mnist</code>",
        r"One result was not reached.</b> Less is\\x1b\[2J more</p>\s+"
        r"<p>measured 0.7940, needed &gt;= 0.8000, on digits \(drawn\)</p>\s*<p>Try <code>",
        r"<details><summary>Formulas held against the library&#39;s: 1|<details><summary>Formulas",
    ):
        assert re.search(text, page), text
    (folded,) = re.findall(r"<details>.*?</details>", page, re.DOTALL)
    assert "f is" in folded and "It holds" not in folded and page.count("f is") == 1
    assert "did not finish" not in page and "last lines" not in page

    before = (folder / "done.json").stat().st_mtime_ns
    status, output = aelib("run", "2", cwd=house, AELIB_DATA_DIR=str(house))
    assert status == 1 and "02_misses was done already, 1 of 3 claims hold" in output
    assert "One result was not reached: It is new" in output
    assert (folder / "done.json").stat().st_mtime_ns == before


def test_a_formula_that_is_missed_is_not_folded_away(house):
    cells = [MISSES[0], "claims.same('f is', 1, 2)", "claims.finish()"]
    path = write_notebook(house / "other" / "misses.ipynb", *cells, parameters="size: int = 3")
    status, output = aelib("run", path, cwd=house)
    assert status == 1 and "0 of 1 formulas are the library's" in output
    assert "needed <= 1e-05, on digits (drawn)" in output and "Try" not in output
    assert "<details open>" in (house / "runs" / "quick" / "index.html").read_text()


def test_the_first_line_says_which_data_were_found(house):
    write_notebook(house / "notebooks" / "02_mnist.ipynb", "1", parameters=ON_MNIST)
    (house / "mnist.npz").touch()
    (house / "mine.npz").touch()
    where = {"cwd": house, "AELIB_DATA_DIR": str(house), "HOME": str(house)}
    _, output = aelib("run", **where)
    assert output.splitlines()[:2] == ["digits: drawn here", "MNIST: ~/mnist.npz"]
    _, output = aelib("run", "-p", "dataset", "mine.npz", **where)
    assert output.splitlines()[0].endswith("mine.npz: your own data")
    assert "MNIST" not in output


def test_pytest_finds_the_stored_claims_again(house):
    path = write_notebook(house / "notebooks" / "02_x.ipynb", BEGIN, "claims.claim('a', 1, '<', 2)")
    assert aelib("run", "2", cwd=house)[0] == 0
    stored = house / "runs" / "quick" / "02_x" / "02_x.ipynb"
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", stored]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    stored.write_text(stored.read_text().replace("✓ a: 1 < 2", "✓ a: 1 < 3"))
    done = subprocess.run(command, cwd=house, capture_output=True, text=True)
    assert done.returncode == 1 and path.is_file(), "and it does compare them"


def test_the_fingerprint_changes_with_all_that_results_depend_on(house, monkeypatch):
    path = house / "notebooks" / "01_good.ipynb"

    def fingerprint(*pairs, profile="quick"):
        return Plan(Notebook(path), profile, dict(pairs)).fingerprint()

    monkeypatch.setenv("AELIB_DATA_DIR", str(house))
    first = fingerprint()
    on_mnist = fingerprint(("dataset", "mnist"))
    (house / "mnist.npz").touch()
    assert fingerprint() == first, "a dataset that it does not use is no matter"
    changed = [on_mnist, fingerprint(("dataset", "mnist"))]
    changed += [fingerprint(("epochs", 4)), fingerprint(profile="full")]
    own = house / "mine.npz"
    for content in ("a", "ab"):
        own.write_text(content)
        changed.append(fingerprint(("dataset", str(own))))
    folder = house / "pictures" / "cats"
    folder.mkdir(parents=True)
    for name in ("1.png", "2.png"):
        (folder / name).touch()
        changed.append(fingerprint(("dataset", str(folder.parent))))
    write_notebook(path, "2")
    changed.append(fingerprint())
    assert len({first, *changed}) == 10


def test_a_folder_of_images_is_a_dataset(house):
    (house / "pictures" / "cats").mkdir(parents=True)
    status, output = aelib("run", "01_good", "-p", "dataset", "pictures", cwd=house)
    assert status == 0, output
    results = json.loads((house / "runs" / "quick" / "01_good" / "results.json").read_text())
    assert results["parameters"]["dataset"] == str((house / "pictures").resolve())


def test_the_full_profile_comes_from_its_file_and_the_command_line_wins(house):
    profile = house / "notebooks" / "profiles" / "full" / "01_good.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text("profile: full\nepochs: 7\nrate: 1.0e-3\n")
    status, output = aelib("run", "--profile", "full", "-p", "epochs", "9", cwd=house)
    assert status == 0, output
    results = json.loads((house / "runs" / "full" / "01_good" / "results.json").read_text())
    assert results["profile"] == results["parameters"]["profile"] == "full"
    assert (results["parameters"]["epochs"], results["parameters"]["rate"]) == (9, 0.001)


def test_runs_beside_the_notebook_on_this_python_whatever_kernels_are_installed(house, tmp_path):
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    notebook = write_notebook(
        house / "notebooks" / "02_where.ipynb",
        "import os, sys\n"
        f"assert sys.executable == {sys.executable!r}\n"
        "assert os.path.isfile('02_where.ipynb')\n"
        "assert os.path.isabs(dataset) and os.path.isfile(dataset)\n"
        "from aelib import claims\n"
        "claims.begin(datasets=[dataset], binding=False)\n"
        "claims.claim('Only reported', 1, '>', 2)",
    )
    (house / "mine.npz").write_bytes(b"")
    status, output = aelib(
        "run", notebook, "-p", "dataset", "mine.npz", "--out", "elsewhere",
        cwd=house, JUPYTER_PATH=str(tmp_path / "jupyter"), JUPYTER_PREFER_ENV_PATH="0",
    )  # fmt: skip
    assert status == 0, output
    assert "○" in output, "a claim on a reader's own data is shown, and does not fail the run"
    assert "○" in (house / "elsewhere" / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "nowhere"], ["no notebook 'nowhere'", "01_good"]),
        (["run", "-p", "epoch", "3"], ["no parameter 'epoch'", "epochs: int = 3", "# a share"]),
        (
            ["run", "-p", "epochs", "abc"],
            ["`epochs` must be of type int", "'abc'", "rate: float = 0.5"],
        ),
        (["run", "-p", "epochs", "1.5"], ["`epochs` must be of type int"]),
        (["run", "-p", "fast", "perhaps"], ["`fast` must be of type bool"]),
        (["run", "-p", "dataset", "minst"], ["no dataset 'minst'", "mnist, fashion_mnist, digits"]),
        (["run", "-p", "dataset", "missing.npz"], ["no dataset 'missing.npz'"]),
        (["run", "-p", "profile", "full"], ["--profile"]),
        (["run", "--profile", "huge"], ["'quick', 'full'"]),
        (["run", "--profile", "full"], ["no profile 'full'", "01_good.yaml"]),
        (["data", "fetch", "minst"], ["mnist, fashion_mnist"]),
        (["report", "nowhere"], ["no folder nowhere"]),
    ],
)
def test_refuses_what_does_not_exist_and_says_what_does(house, arguments, said):
    status, output = aelib(*arguments, cwd=house)
    assert status == 2
    for text in said:
        assert text in output
    assert "Traceback" not in output
    assert not (house / "runs").exists()


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("profile: full\nepochs: 1e3\n", "`epochs` must be of type int"),
        ("profile: full\nepoch: 3\n", "no parameter 'epoch'"),
        ("epochs: 3\n", "profile: full"),
        ("- 1\n", "does not map"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_refuses_a_profile_that_does_not_fit(house, profile, said):
    path = house / "notebooks" / "profiles" / "full" / "01_good.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(profile)
    status, output = aelib("run", "--profile", "full", cwd=house)
    assert (status, said in output) == (2, True), output


def test_refuses_a_data_folder_that_is_missing(house):
    status, output = aelib("run", cwd=house, AELIB_DATA_DIR="nowhere")
    assert status == 2 and "AELIB_DATA_DIR='nowhere'" in output
    assert not (house / "runs").exists()


def test_never_writes_over_a_notebook_that_it_runs(house):
    path = write_notebook(house / "runs" / "quick" / "02_x" / "02_x.ipynb", "1")
    status, output = aelib("run", path, cwd=house)
    assert status == 2 and "overwrite" in output and path.is_file()


def test_a_parameter_goes_to_the_notebooks_that_have_it(house):
    write_notebook(house / "notebooks" / "02_other.ipynb", "assert size == 5",
                   parameters="size: int | None = None")  # fmt: skip
    status, output = aelib("run", "--jobs", 2, "-p", "size", "5", cwd=house)
    assert status == 0, output


def test_list_names_title_and_question_and_of_one_the_parameters(house):
    status, output = aelib("list", cwd=house)
    assert status == 0 and "01_good" in output and "Does it run?" in output
    assert "rate" not in output
    results = house / "runs" / "quick" / "01_good" / "results.json"
    results.parent.mkdir(parents=True)
    results.write_text("damaged")
    status, output = aelib("list", "1", cwd=house)
    assert status == 0 and "      rate: float = 0.5  # a share\n" in output

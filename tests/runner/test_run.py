"""`aelib run`: what it leaves, what it skips, what it refuses."""

import json
import sys

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


def test_the_fingerprint_changes_with_all_that_results_depend_on(house, monkeypatch):
    path = house / "notebooks" / "01_good.ipynb"

    def fingerprint(*pairs, profile="quick"):
        return Plan(Notebook(path), profile, dict(pairs)).fingerprint()

    first = fingerprint()
    assert fingerprint() == first
    changed = [fingerprint(("epochs", 4)), fingerprint(profile="full")]
    monkeypatch.setenv("AELIB_DATA_DIR", str(house))
    (house / "mnist.npz").touch()
    changed.append(fingerprint())
    own = house / "mine.npz"
    for content in ("a", "ab"):
        own.write_text(content)
        changed.append(fingerprint(("dataset", str(own))))
    write_notebook(path, "2")
    changed.append(fingerprint())
    assert len({first, *changed}) == 7


def test_a_part_has_a_parameter_file_and_a_folder_of_its_own(house):
    profile = house / "notebooks" / "profiles" / "full" / "01_good_long.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text("profile: full\nepochs: 70\n")
    status, output = aelib("run", "--profile", "full", "--part", "long", cwd=house)
    assert status == 0, output
    results = json.loads((house / "runs" / "full" / "01_good_long" / "results.json").read_text())
    assert results["notebook"] == "01_good_long" and results["parameters"]["epochs"] == 70
    assert not (house / "runs" / "full" / "01_good").exists()


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
        (["run", "-p", "epochs", "abc"], ["epochs is of type int", "'abc'", "rate: float = 0.5"]),
        (["run", "-p", "epochs", "1.5"], ["epochs is of type int"]),
        (["run", "-p", "fast", "perhaps"], ["fast is of type bool"]),
        (["run", "-p", "dataset", "minst"], ["no dataset 'minst'", "mnist, fashion_mnist, digits"]),
        (["run", "-p", "dataset", "missing.npz"], ["no dataset 'missing.npz'"]),
        (["run", "-p", "profile", "full"], ["--profile"]),
        (["run", "--profile", "huge"], ["'quick', 'full'"]),
        (["run", "--profile", "full"], ["no profile 'full'", "01_good.yaml"]),
        (["run", "--profile", "full", "--part", "long"], ["no part 'long'", "There are: none"]),
        (["run", "--part", "long"], ["--profile full", "Received: --part long"]),
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
        ("profile: full\nepochs: 1e3\n", "epochs is of type int"),
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


def test_list_names_title_question_parameters_and_minutes(house):
    status, output = aelib("list", cwd=house)
    assert status == 0
    for text in ("01_good", "Does it run?", "rate: float = 0.5  # a share"):
        assert text in output

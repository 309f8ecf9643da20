"""What holds for the whole checkout: imports, lock, stamp, licence of data, README."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import environment  # noqa: E402
import stamp  # noqa: E402

NUMBERED = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def python(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    "statement",
    [
        "import aelib",
        "import aelib.data",
        "import aelib.information",
        "import aelib.pca",
        "import aelib.claims",
        "import aelib.runner.cli",
        "import aelib; aelib.pca.PCA; aelib.data.load",
    ],
)
def test_what_starts_without_tensorflow_and_matplotlib(statement):
    heavy = "{'tensorflow', 'keras', 'matplotlib'}"
    program = f"{statement}; import sys; print({heavy} & set(sys.modules))"
    assert python(program).strip() == "set()"


def test_rooms_load_on_first_use_and_others_are_unknown():
    import aelib

    assert aelib.losses.SquaredError and "autoencoder" in dir(aelib)
    with pytest.raises(AttributeError, match="no attribute 'attic'"):
        aelib.attic  # noqa: B018


def test_rooms_import_only_earlier_rooms():
    order = [
        "information",
        "pca",
        "losses",
        "_adam",
        "autoencoder",
        "sparse",
        "contractive",
        "denoising",
        "stacked",
        "semi_supervised",
        "ladder",
        "variational",
        "latent",
        "retrieval",
        "compression",
        "disentanglement",
    ]
    for room in [*order, "claims", "plots", "published"]:
        text = (ROOT / "aelib" / f"{room}.py").read_text()
        imported = set(re.findall(r"(?:from|import) aelib\.(\w+)", text))
        allowed = {"published"} if room == "claims" else set()
        if room in order:
            allowed |= set(order[: order.index(room)])
        assert imported <= allowed, f"{room} imports {imported - allowed}"


def test_nothing_imports_the_runner_and_it_imports_no_room_but_data():
    for path in (ROOT / "aelib").rglob("*.py"):
        imported = set(re.findall(r"(?:from|import) aelib\.(\w+)", path.read_text()))
        if "runner" in path.parts:
            assert imported <= {"runner", "data", "claims", "published"}, path
        else:
            assert "runner" not in imported, path


def test_another_backend_is_refused_in_one_clear_line():
    program = "import keras; keras.backend.backend = lambda: 'jax'; import aelib.losses"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].endswith("Received: backend='jax'")


def test_the_environment_is_made_from_the_lock():
    lock = (ROOT / "requirements.txt").read_text()
    assert (ROOT / "environment.yml").read_text() == environment.environment(lock)


@pytest.mark.parametrize(
    "package",
    [
        "tensorflow",
        "keras",
        "numpy",
        "matplotlib",
        "jupyterlab",
        "nbval",
        "papermill",
        "scikit-learn",
    ],
)
def test_the_lock_pins_what_it_must(package):
    lock = (ROOT / "requirements.txt").read_text()
    assert re.search(rf"(?m)^{package}==\d", lock)


def test_no_dataset_is_tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert [name for name in tracked if name.startswith("data/")] == ["data/README.md"]
    assert not [name for name in tracked if name.endswith((".npz", ".gz", ".zip", ".keras"))]


def copy_of_the_checkout(folder: Path) -> Path:
    for name in ("pyproject.toml", "README.md", "CITATION.cff"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    return folder


def test_a_stamped_copy_shows_its_address_everywhere_and_can_be_stamped_again(tmp_path):
    root = copy_of_the_checkout(tmp_path)
    for repository in ("first/name", "second/other-name"):
        stamp.stamp(root, repository)
        address = f"https://github.com/{repository}"
        assert f'\nRepository = "{address}"\n' in (root / "pyproject.toml").read_text()
        assert f'\nrepository-code: "{address}"\n' in (root / "CITATION.cff").read_text()
        readme = (root / "README.md").read_text()
        assert readme.count("colab-badge.svg") == 1
        assert f"/github/{repository}/blob/main/notebooks/00_start_here.ipynb" in readme
        for path in (root / "notebooks").rglob("*.ipynb"):
            cells = json.loads(path.read_text())["cells"]
            (cell,) = [c for c in cells if "colab" in c["metadata"].get("tags", ())]
            lines = "".join(cell["source"]).splitlines()
            assert lines[-1] == f"    %pip install -q git+{address}"
            assert 'if "google.colab" in sys.modules:' in lines
        assert not stamp.stamp(root, repository), "stamping twice changes nothing"
    assert "first/name" not in "".join(p.read_text() for p in root.rglob("*.md"))


@pytest.mark.parametrize("repository", ["", "name", "a/b/c", "https://github.com/a/b", "a b/c"])
def test_an_address_that_is_none_is_refused(tmp_path, repository):
    with pytest.raises(SystemExit, match="Received: REPO="):
        stamp.stamp(tmp_path, repository)


def test_nothing_shows_an_address_before_it_is_stamped():
    if re.search(r"(?m)^Repository = ", (ROOT / "pyproject.toml").read_text()):
        pytest.skip("this checkout is stamped")
    pages = [ROOT / "README.md", ROOT / "CITATION.cff", *(ROOT / "notebooks").rglob("*.ipynb")]
    for page in pages:
        text = page.read_text()
        assert "colab.research.google.com" not in text and "pip install -q git+" not in text, page


def test_links_of_the_readme_lead_somewhere():
    readme = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_readme_lists_every_notebook_with_its_question():
    readme = (ROOT / "README.md").read_text()
    for path in NUMBERED:
        first = "".join(json.loads(path.read_text())["cells"][0]["source"])
        title, question = re.fullmatch(r"# (.+?)\n\n> (.+)", first).groups()
        assert f"| [{title}](notebooks/{path.name}) | {question} |" in readme, path.name


def test_the_results_table_is_made_from_the_results(tmp_path):
    from click.testing import CliRunner

    from aelib.runner.cli import main

    if not list((ROOT / "results").glob("*.json")):
        pytest.skip("no full run is tracked yet")
    shutil.copytree(ROOT / "results", tmp_path / "results")
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    arguments = ["report", str(tmp_path / "results"), "--readme", str(tmp_path / "README.md")]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "README.md").read_text() == (ROOT / "README.md").read_text()

"""What holds for the whole checkout: imports, lock, stamp, licence of data, README."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from nbclient import NotebookClient
from PIL import Image

import aelib

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import environment  # noqa: E402
import gallery  # noqa: E402
import house  # noqa: E402
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


QUIET = """
import os, random, sys
import numpy as np
import aelib
aelib.start(3)
import keras
sys.stderr.write("by Python ")
sys.stderr.flush()
os.write(2, b"by the system")
drawn = float(keras.random.uniform(())), random.random(), float(np.random.rand())
aelib.start(3)
print((float(keras.random.uniform(())), random.random(), float(np.random.rand())) == drawn)
"""


def started(program: str, **variables: str) -> subprocess.CompletedProcess:
    environ = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL",)}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**environ, **variables},
    )


def test_tensorflow_starts_without_its_log_and_everything_is_seeded():
    done = started(QUIET)
    assert (done.stdout, done.stderr) == ("True\n", "by Python by the system")
    assert "port.cc" in started(QUIET, AELIB_VERBOSE="1").stderr


def test_a_module_of_layers_starts_without_the_log():
    done = started("import aelib; aelib.losses.SquaredError(); aelib.load_model")
    assert (done.returncode, done.stderr) == (0, "")


def test_tensorflow_starts_without_its_log_in_a_notebook(monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # with it a kernel leaves descriptors alone
    # A thread of the kernel forwards what the system writes, perhaps after the cell has ended.
    cells = [nbformat.v4.new_code_cell(code) for code in (QUIET, "import time\ntime.sleep(3)")]
    NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=120).execute()
    outputs = [(o.name, o.text) for cell in cells for o in cell.outputs]
    texts = {name: "".join(t for n, t in outputs if n == name) for name, _ in outputs}
    assert texts["stdout"] == "True\n"
    assert sorted(texts["stderr"]) == sorted("by Python by the system"), "in either order"


def test_the_log_is_shown_if_the_import_fails(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'native words')\nraise ImportError('no library')"
    )
    done = started("import aelib; aelib.start(3)", PYTHONPATH=str(tmp_path))
    assert done.stderr.startswith("native words")
    assert done.stderr.endswith("ImportError: no library\n")


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are POSIX")
def test_a_process_without_standard_error_starts():
    program = f"{shlex.quote(sys.executable)} -c 'import aelib; aelib.start(3); print(1)' 2>&-"
    assert subprocess.run(["bash", "-c", program], capture_output=True).stdout == b"1\n"


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "1", None, True])
def test_a_seed_is_checked(seed):
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}$"):
        aelib.start(seed)


def test_importing_aelib_is_quick():
    program = "import time; a = time.perf_counter(); import aelib; print(time.perf_counter() - a)"
    assert min(float(python(program)) for _ in range(3)) < 0.3


def test_modules_load_on_first_use_and_others_are_unknown():
    assert aelib.losses.SquaredError and "autoencoder" in dir(aelib)
    with pytest.raises(AttributeError, match="no attribute 'attic'"):
        aelib.attic  # noqa: B018


def test_editors_see_every_public_module():
    tree = ast.parse((ROOT / "aelib" / "__init__.py").read_text())
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_" in ast.dump(node)
    )
    seen = {alias.name for statement in block.body for alias in statement.names}
    assert seen | {"__version__", "start"} == set(aelib.__all__)
    assert (ROOT / "aelib" / "py.typed").exists()


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert aelib.__version__ == project["version"]
    assert f"version: {project['version']}" in (ROOT / "CITATION.cff").read_text()


def test_the_rules_of_the_house_hold():
    assert house.faults(ROOT / "aelib", aelib.MODULES) == []


SOUND = {
    "__init__.py": "import importlib\nimportlib.import_module(f'aelib.{name}')",
    "_checks.py": "import math",
    "losses.py": "import keras\nfrom aelib._checks import number",
    "training.py": "optimizer._momentums; getattr(optimizer, '_velocities', None)",
    "autoencoder.py": """
import keras
from aelib.losses import SquaredError
from aelib import training

class Autoencoder(keras.Model):
    def __init__(self):
        self._graph = training.graph
        self._graph.name, point._replace(x=1), self.__class__

    def _mine(self, other):
        return other._mine(super()._mine())
""",
    "variational.py": "import aelib.autoencoder",
    "plots.py": "import matplotlib",
    "data/__init__.py": "from aelib.data._store import folder",
    "data/_store.py": "from . import _remote",
    "data/_remote.py": "import json",
    "runner/__init__.py": "",
    "runner/cli.py": "from aelib.runner import task\nfrom aelib import data",
    "runner/task.py": "",
}
ORDER = ("_checks", "data", "losses", "training", "autoencoder", "variational", "plots")


def faults_of(folder: Path, changed: dict[str, str]) -> list[str]:
    for name, text in {**SOUND, **changed}.items():
        path = folder / "aelib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return house.faults(folder / "aelib", ORDER)


def test_a_sound_tree_has_no_faults(tmp_path):
    assert faults_of(tmp_path, {}) == []


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        # upwards, in every form that an import has
        ("losses.py", "import aelib.variational", "losses imports variational"),
        ("losses.py", "from aelib import variational", "losses imports variational"),
        ("losses.py", "from .variational import x", "losses imports variational"),
        ("losses.py", "from . import variational as v", "losses imports variational"),
        ("losses.py", "def f():\n from aelib.variational import x", "losses imports variational"),
        ("losses.py", "import aelib\naelib.variational.x", "losses imports variational"),
        (
            "losses.py",
            "from importlib import import_module as load\nload('aelib.plots')",
            "losses imports plots",
        ),
        ("losses.py", "__import__('aelib.variational')", "losses imports variational"),
        ("losses.py", "__import__('aelib.' + name)", "losses imports a module by a computed name"),
        # circles, the packages' own too
        ("losses.py", "from aelib import variational", "variational imports itself in a circle"),
        ("data/_remote.py", "from . import _store", "data._store imports itself in a circle"),
        # private names of aelib
        ("losses.py", "from aelib._checks import _number", "private name aelib._checks._number"),
        ("losses.py", "from aelib import _checks", "imports the private name aelib._checks"),
        ("losses.py", "from aelib.data import _store", "private name aelib.data._store"),
        ("data/_store.py", "from aelib.data._remote import _x", "name aelib.data._remote._x"),
        ("plots.py", "from aelib import losses as l\nl._x", "reaches for the private name l._x"),
        ("plots.py", "import aelib.losses\naelib.losses._x", "private name aelib.losses._x"),
        ("plots.py", "from aelib import losses\ngetattr(losses, '_x')", "name losses._x"),
        # private names of Keras
        ("losses.py", "optimizer._momentums", "losses uses the private name optimizer._momentums"),
        ("losses.py", "hasattr(optimizer, '_velocities')", "name optimizer._velocities"),
        (
            "losses.py",
            "class A(Model):\n def f(self): self._tracker.unlock()",
            "losses uses the private name self._tracker",
        ),
        (
            "losses.py",
            "class A(Model):\n def f(self): return super()._flatten_layers()",
            "losses uses the private name super._flatten_layers",
        ),
        ("losses.py", "from keras.src.testing import x", "imports keras.src.testing.x"),
        ("losses.py", "import keras.src.losses", "imports keras.src.losses"),
        ("losses.py", "import keras\nkeras.src.x", "imports keras.src"),
        # size
        ("losses.py", "\n" * 351, "losses has 351 lines, more than 350"),
        ("data/_store.py", "\n" * 401, "data._store has 401 lines, more than 400"),
        # parts that stand apart
        ("plots.py", "from aelib.variational import x", "plots imports a model"),
        ("plots.py", "import aelib.runner.cli", "plots imports runner"),
        ("runner/task.py", "import aelib.losses", "runner.task imports losses"),
        ("extra.py", "", "extra is not in MODULES"),
    ],
)
def test_each_sin_is_caught(tmp_path, name, text, fault):
    assert any(fault in found for found in faults_of(tmp_path, {name: text}))


def test_a_module_that_is_gone_and_too_many_lines_are_caught(tmp_path):
    long = {f"{name}.py": "\n" * 349 for name in ("losses", "training", "autoencoder")}
    many = {f"data/x{i}.py": "\n" * 300 for i in range(20)}
    assert faults_of(tmp_path, {**long, **many}) == []
    (tmp_path / "aelib" / "plots.py").unlink()
    assert house.faults(tmp_path / "aelib", ORDER) == ["plots is in MODULES and nowhere else"]
    parts = [f"x{i}" for i in range(house.LIBRARY_LINES // 300)]
    for part in parts:
        (tmp_path / "aelib" / f"{part}.py").write_text("\n" * 300)
    (found,) = house.faults(tmp_path / "aelib", (*ORDER[:-1], *parts))
    assert re.fullmatch(rf"the library has \d+ lines, more than {house.LIBRARY_LINES}", found)


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
    kept = [name for name in tracked if name.startswith(("aelib/weights/", "tests/releases/"))]
    others = sorted(set(tracked) - set(kept))
    assert not [name for name in others if name.endswith((".npz", ".gz", ".zip", ".keras"))]
    assert not [name for name in kept if not name.endswith((".py", ".keras", ".json"))]


QUESTIONS = [lesson.question for lesson in gallery.lessons()]


def copy_of_the_checkout(folder: Path) -> Path:
    forms = ".github/ISSUE_TEMPLATE/config.yml"
    (folder / forms).parent.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "CITATION.cff", "CHANGELOG.md", forms):
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
        owner, name = repository.split("/")
        readme = (root / "README.md").read_text()
        assert readme.count("colab-badge.svg") == 1
        assert readme.count(f"{address}/actions/workflows/tests.yml") == 2  # the badge, its link
        assert readme.count(f"\ngit clone {address} && cd {name}\nmake run ") == 1
        for path in NUMBERED:
            page = f"https://{owner}.github.io/{name}/notebooks/{path.stem}.html"
            colab = f"{gallery.COLAB}/github/{repository}/blob/main/notebooks/{path.name}"
            assert readme.count(f'<a href="{page}">') == readme.count(f'<a href="{colab}">') == 1
            first = json.loads((root / "notebooks" / path.name).read_text())["cells"][0]
            title, question, line = "".join(first["source"]).split("\n\n")
            assert title.startswith("# ") and question.startswith("> ")
            badge = f"[![Open in Colab]({gallery.COLAB}/assets/colab-badge.svg)]({colab})"
            assert line == f"{badge} [Read it on the site]({page})"
        assert gallery.address(root) == repository
        assert [one.question for one in gallery.lessons(root)] == QUESTIONS
        log = (root / "CHANGELOG.md").read_text()
        assert f"\n[Unreleased]: {address}/compare/v" in log
        for version in re.findall(r"(?m)^## \[(\d[^]]*)\]", log):
            assert f"\n[{version}]: {address}/releases/tag/v{version}\n" in log
        forms = yaml.safe_load((root / ".github/ISSUE_TEMPLATE/config.yml").read_text())
        assert forms["blank_issues_enabled"] is True
        for link in forms["contact_links"]:
            assert link["url"].startswith(f"{address}/") and link["name"] and link["about"]
        for path in (root / "notebooks").rglob("*.ipynb"):
            cells = json.loads(path.read_text())["cells"]
            (cell,) = [c for c in cells if "colab" in c["metadata"].get("tags", ())]
            lines = "".join(cell["source"]).splitlines()
            assert lines[-1] == f'    %pip install -q "aelib[course] @ git+{address}"'
            assert 'if "google.colab" in sys.modules:' in lines
        assert not stamp.stamp(root, repository), "stamping twice changes nothing"
    assert "first/name" not in "".join(p.read_text() for p in root.rglob("*.md"))
    assert "first/name" not in (root / ".github/ISSUE_TEMPLATE/config.yml").read_text()
    everything = [*root.rglob("*.md"), *root.rglob("*.ipynb")]
    assert not [path.name for path in everything if "first.github.io" in path.read_text()]


@pytest.mark.parametrize(
    "pasted",
    [
        "https://github.com/owner/some.name",
        "http://www.github.com/owner/some.name/",
        "github.com/owner/some.name.git",
        "https://github.com/owner/some.name/tree/main/notebooks?tab=readme#top",
        " owner/some.name ",
    ],
)
def test_an_address_may_be_pasted_from_a_browser(tmp_path, pasted):
    root = copy_of_the_checkout(tmp_path)
    stamp.stamp(root, pasted)
    text = (root / "pyproject.toml").read_text()
    assert '\nRepository = "https://github.com/owner/some.name"\n' in text
    assert "not decided" not in text


@pytest.mark.parametrize(
    "repository", ["", "name", "a/b/c", "https://gitlab.com/a/b", "https://github.com/a", "a b/c"]
)
def test_what_is_no_address_is_refused(tmp_path, repository):
    with pytest.raises(SystemExit, match="Received: REPO="):
        stamp.stamp(tmp_path, repository)


def test_every_page_shows_the_address_of_the_project_or_none():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    address = project.get("urls", {}).get("Repository")
    pages = [ROOT / "README.md", ROOT / "CITATION.cff", *(ROOT / "notebooks").rglob("*.ipynb")]
    for page in pages:
        text = page.read_text()
        shown = set(re.findall(r"git\+(https://[\w./-]+)", text))
        shown |= {
            f"https://github.com/{name}"
            for name in re.findall(r"research\.google\.com/github/([\w.-]+/[\w.-]+)", text)
        }
        assert shown <= {address}, page
        assert bool(shown) == bool(address) or page.suffix == ".cff", page


@pytest.mark.parametrize("page", ["README.md", "docs/running.md", "results/README.md"])
def test_links_of_a_page_lead_somewhere(page):
    text = (ROOT / page).read_text()
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    targets += re.findall(r'(?:href|src|srcset)="([^"#]+)"', text)
    for target in targets:
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


def test_the_gallery_of_the_readme_is_that_of_the_notebooks():
    readme = (ROOT / "README.md").read_text()
    lessons = gallery.lessons()
    assert [lesson.name for lesson in lessons] == [path.stem for path in NUMBERED]
    assert gallery.updated(readme, lessons, gallery.address()) == readme, "tools/gallery.py"
    for lesson in lessons:
        assert lesson.question.endswith("?") and 10 <= lesson.minutes <= 60 and lesson.alt
        assert lesson.question in readme and f"<b>{lesson.number} {lesson.title}</b>" in readme


def test_a_thumbnail_is_cut_from_its_lesson():
    kept = [ROOT / lesson.thumbnail for lesson in gallery.lessons()]
    assert sorted(kept) == sorted((ROOT / "docs" / "gallery").iterdir())
    assert max(path.stat().st_size for path in kept) < 25_000
    assert sum(path.stat().st_size for path in kept) < 250_000
    for path, notebook in zip(kept, NUMBERED, strict=True):
        cut = gallery.thumbnail(notebook, gallery.CUTS[path.stem])
        with Image.open(path) as stored:
            assert stored.size == cut.size == (640, 400)
            apart = np.subtract(stored.convert("RGB"), cut, dtype=float)
        assert np.abs(apart).mean() < 6, f"{path.name}: run tools/gallery.py"


def notebook_that_says(folder: Path, text: str) -> Path:
    (folder / "notebooks").mkdir()
    cells = [{"cell_type": "markdown", "metadata": {}, "source": ["# 00 A\n\n> B?\n\n", text]}]
    (folder / "notebooks" / "00_a.ipynb").write_text(json.dumps({"cells": cells}))
    return folder


@pytest.mark.parametrize(
    "text, minutes",
    [
        ("Half a minute to run, 35 minutes to read.", 35),
        ("Half a minute to run on two cores, three quarters of an hour to read. None.", 45),
        ("One minute to run (`quick`), an hour to read.", 60),
    ],
)
def test_minutes_are_those_that_a_lesson_names(tmp_path, text, minutes):
    (lesson,) = gallery.lessons(notebook_that_says(tmp_path, text))
    assert (lesson.number, lesson.title, lesson.question) == ("00", "A", "B?")
    assert lesson.minutes == minutes


@pytest.mark.parametrize("text", ["", "A minute to run.", "A minute to run, ages to read."])
def test_a_lesson_that_names_no_minutes_is_refused(tmp_path, text):
    with pytest.raises(SystemExit, match="00_a must say how long it takes to read.*Received: '"):
        gallery.lessons(notebook_that_says(tmp_path, text))


def test_the_picture_of_the_readme_moves_slowly_and_is_small():
    readme = (ROOT / "README.md").read_text()
    ((shown, _),) = re.findall(r'<img src="(docs/[^"]+\.webp)" alt="([^"]{60,})">', readme)
    (still,) = re.findall(r'reduce\)" srcset="([^"]+)"', readme)
    assert (ROOT / shown).stat().st_size <= 500_000
    with Image.open(ROOT / shown) as moving, Image.open(ROOT / still) as other:
        assert moving.size == other.size and moving.info["loop"] == 0
        assert moving.n_frames > 60 and moving.mode == "RGBA" and not other.is_animated
        assert moving.convert("RGBA").getpixel((0, 0))[3] == 0, "its corners let the page through"
        assert moving.info["duration"] >= 100


def test_the_results_table_is_made_from_the_results(tmp_path):
    assert list((ROOT / "results").glob("*.json"))
    page = ROOT / "results" / "README.md"
    shutil.copy(page, tmp_path / "README.md")
    tool = [sys.executable, ROOT / "tools" / "results_table.py", ROOT / "results"]
    subprocess.run([*tool, tmp_path / "README.md"], check=True)
    assert (tmp_path / "README.md").read_text() == page.read_text()


def test_the_page_of_results_names_every_table():
    text = (ROOT / "results" / "README.md").read_text()
    for path in (ROOT / "results").glob("*.csv"):
        assert f"[{path.name}]({path.name})" in text

"""What a wheel brings: the weights, and the lessons that `aelib get` copies."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import setuptools

from aelib import weights

ROOT = Path(__file__).parents[1]
PARTS = ("notebooks", "studies", "results")
pytestmark = pytest.mark.skipif(
    int(setuptools.__version__.split(".")[0]) < 77, reason="setuptools is too old"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with an unpacked wheel, far from its checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source, site = folder / "source", folder / "site"
    for name in ("aelib", *PARTS):
        unwanted = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, source / name, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('.')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
    (wheel,) = source.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    shutil.rmtree(source)
    return site


def run(site: Path, folder: Path, *arguments: str, status: int = 0) -> str:
    """What a fresh Python in `folder` prints that finds the library in `site`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AELIB")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": f"{folder / 'hidden'}{os.pathsep}{site}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (status, "")
    return done.stdout


def test_the_weights_load_in_a_fresh_process_without_a_network(site, tmp_path):
    program = (
        "import socket; socket.socket.connect = None\n"
        "import aelib\n"
        "models = [aelib.weights.load(name) for name in aelib.weights.names()]\n"
        "print(aelib.__file__, sum(model.count_params() for model in models))"
    )
    parameters = sum(weights.load(name).count_params() for name in weights.names())
    assert run(site, tmp_path, "-c", program) == f"{site}/aelib/__init__.py {parameters}\n"


def test_the_lessons_are_copied_as_they_are_in_the_checkout(site, tmp_path):
    run(site, tmp_path, "-m", "aelib", "get", "mine")
    for part in ("notebooks", "studies"):
        kept = [path for path in (ROOT / part).rglob("*.*") if path.is_file()]
        kept = [path for path in kept if ".ipynb_checkpoints" not in path.parts]
        copies = [path for path in (tmp_path / "mine" / part).rglob("*") if path.is_file()]
        assert len(copies) == len(kept) > 10
        for path in kept:
            copy = tmp_path / "mine" / path.relative_to(ROOT)
            assert copy.read_bytes() == path.read_bytes()
    assert "09 Variational" in run(site, tmp_path / "mine", "-m", "aelib", "list", "09")


def test_the_evidence_is_read_where_there_is_no_checkout(site, tmp_path):
    program = "from aelib import claims; print(len(claims.evidence('code_size')) > 0)"
    assert run(site, tmp_path, "-c", program) == "True\n"


def test_doctor_survives_where_the_folder_of_the_cache_cannot_be_asked_for(site, tmp_path):
    (tmp_path / "hidden").mkdir()
    for name in ("platformdirs", "keras", "nbformat"):
        text = f"raise ModuleNotFoundError('No module named {name}', name={name!r})"
        (tmp_path / "hidden" / f"{name}.py").write_text(text)
    output = run(site, tmp_path, "-m", "aelib", "doctor", status=1)
    for line in (
        "✗ the datasets cannot be read: No module named platformdirs",
        "○ no lessons here",
    ):
        assert line in output

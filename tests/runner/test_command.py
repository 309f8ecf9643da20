"""The command as a whole: what it imports, and `aelib data` and `aelib doctor`."""

import re
import subprocess
import sys

import pytest
from tiny_notebooks import aelib


def test_the_command_imports_neither_keras_nor_tensorflow():
    code = (
        "import importlib, pkgutil, sys, aelib.runner as runner\n"
        "for module in pkgutil.iter_modules(runner.__path__):\n"
        "    importlib.import_module(f'aelib.runner.{module.name}')\n"
        "from aelib import data\n"
        "data.status()\n"
        "parts = {name.split('.')[1] for name in sys.modules if name.startswith('aelib.')}\n"
        "public = {part for part in parts if not part.startswith('_')}\n"
        "print({'keras', 'tensorflow'} & set(sys.modules))\n"
        "print(public - {'runner', 'data', 'claims', 'published'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["set()", "set()"]


def test_data_list_says_what_is_here_and_a_wrong_folder_is_refused(tmp_path):
    status, output = aelib("data", "list", cwd=tmp_path)
    assert status == 0 and "mnist" in output and "digits" in output
    status, output = aelib("data", "list", cwd=tmp_path, AELIB_DATA_DIR="nowhere")
    assert status == 2 and "nowhere" in output


def test_doctor_examines_everything_and_says_what_to_do(tmp_path):
    status, output = aelib("doctor", cwd=tmp_path, AELIB_DATA_DIR="nowhere")
    assert status == 1
    for text in ("✓ TensorFlow", "✓ Keras", "papermill", "nbval", "one and one is 2", "free disk"):
        assert text in output
    assert "✗ AELIB_DATA_DIR is wrong" in output and "or unset it" in output


@pytest.mark.parametrize("package", ["click", "yaml", "jinja2", "papermill", "numpy", "filelock"])
def test_a_missing_package_is_named_and_doctor_survives_without_it(house, package):
    hidden = house / "hidden" / f"{package}.py"
    hidden.parent.mkdir()
    hidden.write_text(f"raise ModuleNotFoundError('No module named', name={package!r})")
    where = {"cwd": house, "PYTHONPATH": str(hidden.parent)}
    if package in ("click", "jinja2", "filelock"):
        status, output = aelib("run", **where)
        assert status == 2 and re.search(f"package {package}( is missing)?: pip install", output)
        assert len(output.splitlines()) == 1 or package != "click"
    if package not in ("jinja2", "filelock"):
        status, output = aelib("doctor", **where)
        assert status == 1 and "free disk" in output
    assert "pip install 'aelib[run]'" in output
    assert "Traceback" not in output


def test_the_package_is_the_command_too(tmp_path):
    command = [sys.executable, "-m", "aelib", "data", "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "mnist" in done.stdout


def test_doctor_survives_a_broken_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no such instruction')")
    status, output = aelib("doctor", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert status == 1 and "✗ TensorFlow and Keras do not start" in output
    assert "no such instruction" in output and "✓ a notebook's kernel starts" in output

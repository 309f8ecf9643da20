"""Examines the machine: what works, and what to do about what does not. Needs nothing itself."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_PATIENCE = 90  # seconds for a probe: the first import of TensorFlow reads a gigabyte
_SPACE = 1.0  # gigabytes
_INSTALL = (
    "Install what is missing: pip install 'aelib[run]', in a checkout pip install -e '.[run]'."
)
_PACKAGES = ("click", "jupyterlab", "papermill", "nbval", "pyyaml", "jinja2", "psutil")
_OF_LESSONS = ("pandas", "scikit-image", "constriction")

# Printed by processes of their own: a broken TensorFlow must not take the doctor down.
_TENSORFLOW = """
import json, os
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import aelib, keras, tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
detail = tf.config.experimental.get_device_details
print(json.dumps({
    "tensorflow": tf.__version__,
    "keras": keras.__version__,
    "backend": keras.backend.backend(),
    "gpus": ", ".join(detail(gpu).get("device_name", gpu.name) for gpu in gpus),
    "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
}))
"""
_KERNEL = """
import json
from aelib.runner.worker import NativeKernelManager
import nbformat.v4 as v4
from nbclient import NotebookClient
notebook = v4.new_notebook(cells=[v4.new_code_cell("import sys; print(1 + 1, sys.executable)")])
NotebookClient(
    notebook, kernel_name="python3", kernel_manager_class=NativeKernelManager, startup_timeout=60
).execute()
print(json.dumps(notebook.cells[0].outputs[0]["text"].split(maxsplit=1)))
"""
Check = tuple[str, str, str]  # a mark, what was found, what to do about it


def main() -> int:
    """Prints each finding as soon as it is known; the exit status says whether all is well."""
    failed = False
    for mark, what, remedy in _examine():
        print(f"{mark} {what}" + (f"\n    {remedy}" if mark != "✓" else ""), flush=True)
        failed |= mark == "✗"
    return int(failed)


def _examine() -> Iterator[Check]:
    with ThreadPoolExecutor() as pool:
        tensorflow, kernel = pool.submit(_probe, _TENSORFLOW), pool.submit(_probe, _KERNEL)
        yield from _packages()
        yield _lessons()
        yield from _data()
        yield _space()
        yield _kernel(*kernel.result())
        yield from _tensorflow(*tensorflow.result())


def _check(ok: bool, what: str, remedy: str = "", needed: bool = True) -> Check:
    return "✓" if ok else "✗" if needed else "○", what, remedy


def _probe(code: str) -> tuple[Any, str]:
    """What a program printed as JSON in its last line, or None and why not."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_PATIENCE
        )
        return json.loads(done.stdout.splitlines()[-1]), ""
    except subprocess.TimeoutExpired:
        return None, f"no answer in {_PATIENCE} s"
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines()
        return None, lines[-1] if lines else f"exit status {done.returncode}"


def _packages() -> Iterator[Check]:
    missing = []
    for name in (*_PACKAGES, *_OF_LESSONS):
        try:
            yield _check(True, f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield _check(False, f"not installed: {', '.join(missing)}", _INSTALL)


def _lessons() -> Check:
    from aelib.runner.notebooks import checkout, numbered

    root = checkout()
    what = f"{len(numbered(root))} lessons in {root}" if root else "no lessons here"
    remedy = "`aelib get` fetches them into a folder: go there."
    return _check(root is not None, what, remedy, needed=False)


def _space() -> Check:
    try:
        free = shutil.disk_usage(".").free / 1e9
    except OSError as error:
        return _check(False, f"this folder cannot be used: {error}", "Go to another one.")
    remedy = f"Free some space: datasets and runs take up to {_SPACE:.0f} GB."
    return _check(free >= _SPACE, f"{free:.1f} GB of free disk space here", remedy)


def _tensorflow(found: dict | None, problem: str) -> Iterator[Check]:
    if found is None:
        remedy = f"Only 01 and 02 run without it. {_INSTALL}"
        yield _check(False, f"TensorFlow and Keras do not start: {problem}", remedy)
        return
    yield _check(True, f"TensorFlow {found['tensorflow']}, {found['threads']} threads")
    what, backend = f"Keras {found['keras']} on the backend {found['backend']}", found["backend"]
    remedy = "Import aelib before Keras, or set KERAS_BACKEND=tensorflow."
    yield _check(backend == "tensorflow", what, remedy)
    remedy = (
        "Notebooks run on the processor, which the quick profile is made for. With an NVIDIA card "
        "on Linux: pip install 'tensorflow[and-cuda]', and look at what nvidia-smi says."
    )
    gpus = found["gpus"]
    yield _check(bool(gpus), f"GPU: {gpus}" if gpus else "no GPU", remedy, needed=False)


def _kernel(found: list | None, problem: str) -> Check:
    if found is None:
        remedy = f"{_INSTALL} A firewall that forbids connections to 127.0.0.1 stops it, too."
        return _check(False, f"a notebook's kernel does not start: {problem}", remedy)
    answer, python = found[0], found[1].strip()
    ok = answer == "2" and Path(python).samefile(sys.executable)
    remedy = f"It runs on {python}, and not on {sys.executable}."
    return _check(ok, f"a notebook's kernel starts: one and one is {answer}", remedy)


def _data() -> Iterator[Check]:
    from aelib.runner import UsageError
    from aelib.runner.plan import DATA_VARIABLE, resolve_data_folder

    given = os.environ.get(DATA_VARIABLE)
    try:
        from aelib import data

        resolve_data_folder()
        found = data.status()
    except ImportError as error:
        yield _check(False, f"the datasets cannot be read: {error}", _INSTALL)
        return
    except UsageError as refusal:
        remedy = f"Set {DATA_VARIABLE} to a folder with datasets, or unset it."
        yield _check(False, f"{DATA_VARIABLE} is wrong: {refusal}", remedy)
        return
    yield _check(True, f"{DATA_VARIABLE} is {given}" if given else f"{DATA_VARIABLE} is not set")
    for item in found:
        here = item.kind == "embedded" or item.path is not None
        where = f": {item.path}" if item.path else ""
        way = "See data/README.md." if item.kind == "directory" else f"aelib data fetch {item.name}"
        yield _check(here, f"dataset {item.name}, {item.note}{where}", way, needed=False)

"""Examines the machine: what works, and what to do about what does not."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aelib.runner import UsageError
from aelib.runner.plan import DATA_VARIABLE, resolve_data_folder

_PATIENCE = 90  # seconds for a probe: the first import of TensorFlow reads a gigabyte
_SPACE = 1.0  # gigabytes
_INSTALL = (
    "Install what is missing: pip install 'aelib[run]', in a checkout pip install -e '.[run]'."
)

# Printed by processes of their own: a broken TensorFlow must not take the doctor down.
_TENSORFLOW_PROBE = """
import json, os, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import aelib, keras, tensorflow as tf
def xla():
    try:
        double = tf.function(lambda x: x + x, jit_compile=True)
        return bool(double(tf.constant(1.0)) == 2.0)
    except Exception:
        return False
gpus = tf.config.list_physical_devices("GPU")
detail = tf.config.experimental.get_device_details
print(json.dumps({
    "tensorflow": tf.__version__,
    "keras": keras.__version__,
    "backend": keras.backend.backend(),
    "gpus": [detail(gpu).get("device_name", gpu.name) for gpu in gpus],
    "xla": xla(),
    "threads": tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count(),
}))
"""
_KERNEL_PROBE = """
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


@dataclass(frozen=True)
class Check:
    """One finding. What is not `needed` is only worth knowing."""

    what: str
    ok: bool = True
    remedy: str = ""
    needed: bool = True


def examine() -> list[Check]:
    """Every finding, in the order in which a person should read them."""
    with ThreadPoolExecutor() as pool:
        tensorflow = pool.submit(_probe, _TENSORFLOW_PROBE)
        kernel = pool.submit(_probe, _KERNEL_PROBE)
        return [
            *_tensorflow(*tensorflow.result()),
            *_programs(),
            _kernel(*kernel.result()),
            *_data(),
            _disk(),
        ]


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


def _tensorflow(found: dict | None, problem: str) -> list[Check]:
    if found is None:
        remedy = f"Only 01 and 02 run without it. {_INSTALL}"
        return [Check(f"TensorFlow and Keras do not start: {problem}", False, remedy)]
    backend = found["backend"]
    gpus = ", ".join(found["gpus"])
    remedy = (
        "Notebooks run on the processor, which the quick profile is made for. With an NVIDIA card "
        "on Linux: pip install 'tensorflow[and-cuda]', and look at what nvidia-smi says."
    )
    return [
        Check(f"TensorFlow {found['tensorflow']}, {found['threads']} threads"),
        Check(
            f"Keras {found['keras']} on the backend {backend}",
            backend == "tensorflow",
            "Import aelib before Keras, or set KERAS_BACKEND=tensorflow.",
        ),
        Check(
            "XLA compiles" if found["xla"] else "XLA does not compile",
            found["xla"],
            "Training is slower with a GPU; on the processor nothing uses it.",
            needed=False,
        ),
        Check(f"GPU: {gpus}" if gpus else "no GPU", bool(gpus), remedy, needed=False),
    ]


def _programs() -> list[Check]:
    checks = []
    for name in ("jupyterlab", "papermill", "nbval", "pyyaml", "jinja2"):
        try:
            checks.append(Check(f"{name} {importlib.metadata.version(name)}"))
        except importlib.metadata.PackageNotFoundError:
            checks.append(Check(f"{name} is not installed", False, _INSTALL))
    return checks


def _kernel(found: list | None, problem: str) -> Check:
    remedy = f"{_INSTALL} A firewall that forbids connections to 127.0.0.1 stops it, too."
    if found is None:
        return Check(f"a notebook's kernel does not start: {problem}", False, remedy)
    answer, python = found[0], found[1].strip()
    return Check(
        f"a notebook's kernel starts: one and one is {answer}",
        answer == "2" and Path(python).samefile(sys.executable),
        f"It runs on {python}, and not on {sys.executable}.",
    )


def _data() -> list[Check]:
    try:
        from aelib import data
    except ImportError as error:
        return [Check(f"the datasets cannot be read: {error}", False, _INSTALL)]
    given = os.environ.get(DATA_VARIABLE)
    try:
        resolve_data_folder()
    except UsageError as refusal:
        remedy = f"Set {DATA_VARIABLE} to a folder with datasets, or unset it."
        return [Check(f"{DATA_VARIABLE} is wrong: {refusal}", False, remedy)]
    checks = [Check(f"{DATA_VARIABLE} is {given}" if given else f"{DATA_VARIABLE} is not set")]
    for item in data.status():
        here = item.kind == "embedded" or item.path is not None
        where = f": {item.path}" if item.path else ""
        remedy = f"aelib data fetch {item.name}"
        checks.append(Check(f"dataset {item.name}, {item.note}{where}", here, remedy, needed=False))
    return checks


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    remedy = f"Free some space: datasets and runs take up to {_SPACE:.0f} GB."
    return Check(f"{free:.1f} GB of free disk space here", free >= _SPACE, remedy)

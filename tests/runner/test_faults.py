"""Faults, made for real: what is said, what counts as done, and what is left running."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from tiny_notebooks import BEGIN, aelib, ended, start, wait_for, write_notebook

# Says which process it is, then waits until it is told to go on.
WAIT = """import os, pathlib, time
pathlib.Path("pid.part").write_text(str(os.getpid()))
os.replace("pid.part", "pid")
while not pathlib.Path("go").exists():
    time.sleep(0.1)"""


def test_each_fault_is_reported_with_its_place_and_the_rest_still_runs(house):
    notebooks = house / "notebooks"
    sources = {
        "02_dies": [BEGIN + "\nclaims.record('early', 1, unit='')", "import os\nos._exit(7)"],
        "03_sleeps": ["print('so far', flush=True)\nimport time; time.sleep(100)"],
        "04_raises": ["", "print('so far')\nraise RuntimeError('a\\x1b[31mlas')"],
        "05_claims": [BEGIN, "raise claims.ClaimFailed('by hand')", "claims.finish()"],
        "06_leaves": ["import sys; sys.exit(0)", "print('never')"],
        "07_early": [BEGIN, "claims.claim('No', 1, '>', 2)\nclaims.finish()", "print('never')"],
        "08_empty": [BEGIN, "claims.finish()"],
        "09_another": [
            BEGIN,
            "claims.claim('No', 1, '>', 2)",
            "try:\n    claims.finish()\nexcept AssertionError:\n"
            "    raise claims.ClaimFailed('mine') from None",
        ],
        "10_own": [
            "from aelib import claims\nclaims.begin(datasets=['my.npz'], binding=False)",
            "claims.claim('No', 1, '>', 2)",
            "1 / 0",
        ],
    }
    for name, cells in sources.items():
        write_notebook(notebooks / f"{name}.ipynb", *cells)
    status, output = aelib("run", "--jobs", 2, "--cell-timeout", 8, cwd=house)
    assert status == 1
    for name, text in {
        "01_good": "finished",
        "02_dies": "in cell [3] import os: The kernel died, with exit status 7",
        "03_sleeps": "The cell took longer than 8 s.\n    | so far",
        "04_raises": "RuntimeError: alas",
        "05_claims": "in cell [3] raise claims.ClaimFailed('by hand'): ClaimFailed: by hand",
        "06_leaves": "The notebook ended early",
        "07_early": "ClaimFailed: 0 of 1 claims hold",
        "08_empty": "in cell [3] claims.finish(): ClaimFailed: No claims were made",
        "09_another": "ClaimFailed: mine",
        "10_own": "in cell [4] 1 / 0: ZeroDivisionError",
    }.items():
        assert re.search(rf"{name} .*{re.escape(text)}", output), (name, output)

    run = house / "runs" / "quick"
    assert {path.parent.name for path in run.glob("*/done.json")} == {"01_good"}
    assert output.count("Traceback (most recent call last)") == 6
    fault = json.loads((run / "02_dies" / "fault.json").read_text())
    assert fault["cell"] == 3 and fault["results"]["records"][0]["name"] == "early"
    page = (run / "index.html").read_text()
    assert "1 of 10 notebooks finished" in page and page.count("It did not finish") == 9
    folded = re.findall(r"<details>.*?</details>", page, re.DOTALL)
    assert page.count("Traceback (most") == "".join(folded).count("Traceback (most") == 6
    assert "2 results were not reached" in page, "what was missed before a fault is told as well"

    write_notebook(notebooks / "02_dies.ipynb", BEGIN)
    status, output = aelib("run", "1", "2", cwd=house)
    assert status == 0, output
    assert "01_good was done already" in output and "02_dies finished" in output
    assert not (run / "02_dies" / "fault.json").exists()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_stopped_command_leaves_no_process_and_the_next_start_continues(house, name):
    write_notebook(house / "notebooks" / "02_waits.ipynb", WAIT)
    command = start("run", "2", cwd=house)
    pid_file = house / "notebooks" / "pid"
    wait_for(pid_file.exists)
    kernel = int(pid_file.read_text())
    worker = _parent(kernel)
    command.send_signal(getattr(signal, name))
    output, _ = command.communicate(timeout=120)
    assert command.returncode != 0
    assert "Traceback" not in output
    wait_for(lambda: ended(kernel) and ended(worker), 15)
    run = house / "runs" / "quick"
    assert not (run / "02_waits" / "done.json").exists()

    if name == "SIGKILL":
        (house / "notebooks" / "go").touch()
        status, output = aelib("run", "2", cwd=house)
        assert status == 0 and "02_waits finished" in output


def test_a_second_command_in_the_same_folder_is_refused_and_a_killed_worker_reported(house):
    write_notebook(house / "notebooks" / "02_waits.ipynb", WAIT)
    first = start("run", "2", cwd=house)
    pid_file = house / "notebooks" / "pid"
    wait_for(pid_file.exists)
    status, output = aelib("run", "1", cwd=house)
    assert status == 2 and "Another `aelib run`" in output

    kernel = int(pid_file.read_text())
    os.kill(_parent(kernel), signal.SIGTERM)
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 1 and "ended with status" in output
    wait_for(lambda: ended(kernel), 15)


def test_an_output_folder_that_cannot_be_written_is_reported(house):
    (house / "file").touch()
    status, output = aelib("run", "--out", "file/run", cwd=house)
    assert status == 2 and "cannot be written" in output and "Traceback" not in output


def test_a_full_disk_is_reported_and_the_next_start_continues(house):
    out = house / "small"
    out.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=400k", "tmpfs", out], capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        path = house / "notebooks" / "02_large.ipynb"
        write_notebook(path, "print('x' * 1_000_000)")
        status, output = aelib("run", "2", "--out", out, cwd=house)
        assert status == 1, output
        assert "02_large FAILED" in output and "No space left" in output
        assert "Traceback" not in output
        assert not (out / "02_large" / "done.json").exists()
        write_notebook(path, "print('x')")
        status, output = aelib("run", "2", "--out", out, cwd=house)
        assert status == 0, output
    finally:
        subprocess.run(["umount", out], check=True)


def _parent(pid: int) -> int:
    import psutil

    return psutil.Process(pid).ppid()

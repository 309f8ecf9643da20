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
    assert fault["fault"]["cell"] == 3 and fault["records"][0]["name"] == "early"
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


def test_a_killed_worker_takes_all_that_its_notebook_started_with_it(house):
    """Its kernel wrote into the next run's results once, and children lived on."""
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(99)"
    spawn = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {stubborn!r}])\n"
        "open('child', 'w').write(str(child.pid))"
    )
    write_notebook(house / "notebooks" / "02_waits.ipynb", spawn, WAIT)
    write_notebook(house / "notebooks" / "03_ends.ipynb", spawn.replace("'child'", "'other'"))
    status, output = aelib("run", "3", cwd=house)
    assert status == 0, output
    wait_for(lambda: ended(int((house / "notebooks" / "other").read_text())), 5)

    command = start("run", "2", cwd=house)
    wait_for((house / "notebooks" / "pid").exists)
    kernel = int((house / "notebooks" / "pid").read_text())
    child = int((house / "notebooks" / "child").read_text())
    os.kill(_parent(kernel), signal.SIGKILL)
    output, _ = command.communicate(timeout=60)
    assert command.returncode == 1 and "ended with status -9" in output
    assert ended(kernel) and ended(child), "before the command says anything"


def test_a_stop_leaves_nothing_in_the_folder_for_temporary_files(house, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    write_notebook(house / "notebooks" / "02_waits.ipynb", WAIT)
    command = start("run", "2", cwd=house, TMPDIR=str(scratch))
    wait_for((house / "notebooks" / "pid").exists)
    assert any(scratch.iterdir())
    command.kill()
    command.communicate()
    wait_for(lambda: not any(scratch.iterdir()), 15)


def test_what_was_whole_stays_until_the_next_run_is_whole(house):
    write_notebook(house / "notebooks" / "02_may_wait.ipynb", "if fast:\n    1\nelse:\n    2", WAIT)
    (house / "notebooks" / "go").touch()
    assert aelib("run", "2", cwd=house)[0] == 0
    for file in ("go", "pid"):
        (house / "notebooks" / file).unlink()
    command = start("run", "2", "-p", "fast", "no", cwd=house)
    wait_for((house / "notebooks" / "pid").exists)
    command.kill()
    command.communicate()
    status, output = aelib("run", "2", cwd=house)
    assert status == 0 and "was done already" in output


def test_what_is_changed_meanwhile_is_not_marked_as_done(house, monkeypatch):
    path = write_notebook(house / "notebooks" / "02_waits.ipynb", WAIT, BEGIN)
    text = path.read_text()
    command = start("run", "2", cwd=house)
    wait_for((house / "notebooks" / "pid").exists)
    path.write_text(text.replace("datasets=[dataset]", "datasets=['edited']"))
    (house / "notebooks" / "go").touch()
    assert command.wait(60) == 0
    folder = house / "runs" / "quick" / "02_waits"
    assert json.loads((folder / "results.json").read_text())["dataset"] == ["digits"]
    assert aelib("run", "2", cwd=house)[1].count("finished in") == 1
    path.write_text(text)
    assert "finished in" in aelib("run", "2", cwd=house)[1], "the edited results are not these"


def test_a_folder_that_disappears_costs_no_run(house):
    write_notebook(house / "notebooks" / "02_waits.ipynb", WAIT, BEGIN)
    command = start("run", "2", "1", cwd=house)
    wait_for((house / "notebooks" / "pid").exists)
    shutil.rmtree(house / "runs")
    (house / "notebooks" / "go").touch()
    output, _ = command.communicate(timeout=60)
    assert command.returncode == 0, output
    assert len(list(house.glob("runs/quick/*/done.json"))) == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("while True:\n    print('x' * 1_000_000)", "Its output takes more than 2 GB."),
        ("while True:\n    import os\n    os.write(2, b'x' * 1_000_000)", "more than 2 GB"),
        ("raise ValueError('long ' * 2_000_000)", "ValueError: long long"),
        ("raise ValueError('\\udcff\\x1b[2J')", "ValueError: \N{REPLACEMENT CHARACTER}"),
        ("open(__import__('os').environ['AELIB_EVENTS'], 'w').write('{\\n')", "Line 1 of what it"),
        ("from aelib import claims\nclaims._emit('claim', statement=[1])", "Line 2 of what it"),
    ],
)
def test_a_hostile_notebook_is_one_failure_and_no_more(house, source, said):
    write_notebook(house / "notebooks" / "02_hostile.ipynb", BEGIN, source)
    status, output = aelib("run", "2", "1", cwd=house)
    assert status == 1 and "02_hostile FAILED after" in output and said in output
    assert "Traceback" not in output.split("ValueError")[0] and len(output) < 20_000
    assert "01_good finished" in output and "\x1b" not in output


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("epochs: int = 3 3", "line 1: invalid syntax"),
        ("rate = [1, 2", "line 1"),
        ("  epochs = 3", "line 1: unexpected indent"),
        ("epochs = '", "line 1"),
        ("epochs = " + "(" * 500, "parameters"),
    ],
)
def test_a_typing_error_in_the_parameters_is_refused_and_names_the_notebook(house, cell, said):
    path = write_notebook(house / "notebooks" / "02_typo.ipynb", parameters=cell)
    for command in (["run"], ["list"], ["list", "2"]):
        status, output = aelib(*command, cwd=house)
        assert "Traceback" not in output
        if command != ["list"]:
            assert status == 2 and str(path) in output and said in output


def test_what_no_notebook_or_parameter_file_is_is_refused_and_named(house):
    path = house / "notebooks" / "02_other.ipynb"
    null = b'{"cells": [{"cell_type": "code", "source": "", "metadata": null}]}'
    for content in (b"[" * 200_000, b'{"cells": [null]}', b"\xff", null):
        path.write_bytes(content)
        status, output = aelib("run", "2", cwd=house)
        assert status == 2 and "02_other.ipynb" in output and "Traceback" not in output
    path.unlink()
    full = house / "notebooks" / "profiles" / "full" / "01_good.yaml"
    full.parent.mkdir(parents=True)
    bomb = "a: &a [1]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
                                  for a, b in zip("abcdefgh", "bcdefghi", strict=True))  # fmt: skip
    for content in (b"profile: full\nrate: \xff", b"profile: full\nrate: .nan", bomb.encode()):
        full.write_bytes(content)
        status, output = aelib("run", "1", "--profile", "full", cwd=house)
        assert status == 2 and "01_good.yaml" in output and "Traceback" not in output


def test_a_folder_that_is_gone_or_a_loop_is_reported(house):
    (house / "gone").mkdir()
    command = f"cd gone && rmdir ../gone && {sys.executable} -m aelib.runner.cli list"
    done = subprocess.run(command, shell=True, cwd=house, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    done = subprocess.run(f"{sys.executable} -m aelib run 2>&-", shell=True, cwd=house)
    assert done.returncode == 0, "with no stream to complain on"
    (house / "loop").symlink_to(house / "loop")
    status, output = aelib("run", "--out", "loop", cwd=house)
    assert status == 2 and "cannot be written" in output and "Traceback" not in output


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

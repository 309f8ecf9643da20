"""`aelib grid`: every combination once, whatever dies on the way, and one table."""

import csv
import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
from tiny_notebooks import BEGIN, aelib, ended, start, wait_for, write_notebook

COUNTED = (
    BEGIN,
    "with open('ran', 'a') as file:\n    file.write(f'{seed} {dataset}\\n')",
    "claims.claim('More is more', seed, '>=', 1, baseline=0)\n"
    "claims.same('one is', 1, 1)\nclaims.record('twice', 2 * seed, unit='')",
)
# Waits for a file, so that a test can break something meanwhile.
WAITS = (
    BEGIN,
    "import os, pathlib, time\npathlib.Path(f'begun{seed}').write_text(str(os.getpid()))\n"
    "while not pathlib.Path('go').exists():\n    time.sleep(0.05)",
    *COUNTED[1:],
)


def rows(path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_runs_every_combination_once_and_goes_on_where_it_stopped(house):
    write_notebook(house / "notebooks" / "02_grid.ipynb", *COUNTED)
    arguments = ("grid", "02", "-p", "seed", "0:2", "-p", "seed=4", "-p", "dataset", "digits",
                 "-p", "dataset", "faces")  # fmt: skip
    status, output = aelib(*arguments, "--dry-run", cwd=house)
    assert status == 0 and "6 runs" in output and "seed=4 dataset=faces" in output
    assert not (house / "runs").exists()

    status, output = aelib(*arguments, cwd=house)
    assert status == 1, "seed 0 misses its claim"
    assert "Dask's dashboard: http://127.0.0.1:" in output and "min left" in output
    ran = (house / "notebooks" / "ran").read_text().split("\n")
    assert sorted(filter(None, ran)) == sorted(
        f"{seed} {dataset}" for seed in (0, 1, 4) for dataset in ("digits", "faces")
    )
    table = rows(house / "runs" / "grid" / "runs.csv")
    assert [(row["seed"], row["dataset"], row["twice"]) for row in table] == [
        (seed, dataset, f"{2.0 * int(seed)}")
        for seed in ("0", "1", "4")
        for dataset in ("digits", "faces")
    ]
    first = table[0]
    assert (first["notebook"], first["held"], first["claims"]) == ("02_grid", "1", "2")
    assert "CPU" in first["device"] and "numpy" in first["versions"]
    assert len({row["fingerprint"] for row in table}) == len({row["run"] for row in table}) == 6

    # 0, 1 and 4 against 1: distances -1, 0 and 3, of mean 2/3 and deviation 2.08.
    assert "  2/3        1.667      2.082          >= 1     0.3  More is more" in output
    (margin, _) = rows(house / "runs" / "grid" / "margins.csv")
    assert (margin["dataset"], margin["held"], margin["runs"]) == ("digits", "2", "3")
    assert (float(margin["mean"]), float(margin["margin"])) == pytest.approx(
        (5 / 3, 0.32), abs=0.01
    )

    folders = sorted((house / "runs" / "grid").glob("02_grid-*"))
    (folders[0] / "done.json").unlink()
    (folders[1] / "02_grid.ipynb").write_text("{}")
    (folders[2] / "results.json").write_text("")
    status, output = aelib(*arguments, cwd=house)
    assert output.count("was done already") == 3
    assert (house / "notebooks" / "ran").read_text().count("\n") == 9
    assert len(rows(house / "runs" / "grid" / "runs.csv")) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["01", "-p", "seed", "0:2", "-p", "seed", "x"], "`seed` must be of type int"),
        (["01", "-p", "seed", "2:2"], "at least one value. Received: seed=['2:2']"),
        (["01", "-p", "seed", "0:100000"], "at most 10,000"),
        (["01", "-p", "rate", "0:2"], "`rate` must be of type float"),
        (["01", "-p", "speed", "1"], "no parameter 'speed'"),
        (["01", "--on", "nowhere"], "no Dask scheduler at 'nowhere'"),
        (["nothing"], "no notebook 'nothing'"),
        (["study", "--profile", "huge"], "no profile 'huge'. There are: prefetch, smoke"),
        (["study"], "`prefetch` must list datasets. Received: ['minst']"),
        ([], "Missing argument"),
    ],
)
def test_refuses_before_anything_runs(house, arguments, said):
    write_notebook(house / "studies" / "study" / "run.ipynb", *COUNTED)
    (house / "studies" / "study" / "grid.yaml").write_text("prefetch: [minst]\nsmoke: {seed: 1}\n")
    status, output = aelib("grid", *arguments, cwd=house)
    assert status == 2 and said in output and "Traceback" not in output
    assert not list(house.rglob("results.json"))


def test_a_study_is_run_and_reported_on(house):
    study = house / "studies" / "methods"
    write_notebook(study / "run.ipynb", *COUNTED)
    (study / "grid.yaml").write_text("smoke:\n  seed: 1:3\n  rate: [0.1, 1]\nfull:\n  seed: 0:9\n")
    read = "import csv\nfound = list(csv.DictReader(open(rows)))"
    report = 'profile: str = "smoke"\nrows: str = ""'
    write_notebook(
        study / "report.ipynb",
        "from aelib import claims\nclaims.begin(datasets=[])\n" + read,
        "claims.claim('All are there', len(found), '==', 4)\nclaims.finish()",
        parameters=report,
    )
    for target in ("methods", study):
        status, output = aelib("grid", target, cwd=house)
        assert status == 0, output
    out = house / "runs" / "studies" / "methods-smoke"
    assert [(row["seed"], row["rate"]) for row in rows(out / "runs.csv")] == [
        ("1", "0.1"), ("1", "1.0"), ("2", "0.1"), ("2", "1.0"),
    ]  # fmt: skip
    assert json.loads((out / "methods" / "results.json").read_text())["claims"][0]["holds"]
    assert "All are there" in (out / "index.html").read_text()
    assert (study / "ran").read_text().count("\n") == 4, "the second time nothing is run"


def test_a_lost_run_is_tried_three_times_and_the_others_go_on(house):
    write_notebook(
        house / "notebooks" / "02_dies.ipynb",
        BEGIN + "\nclaims.record('early', 1, unit='')",
        "import os\nwith open('ran', 'a') as file:\n    file.write(f'{seed}\\n')\n"
        "tries = open('ran').read().split().count(str(seed))\n"
        "if seed == 0 or seed == 1 and tries < 3:\n    os.kill(os.getpid(), 9)\n"
        "if seed == 3:\n    raise ValueError('the same each time')",
    )
    status, output = aelib("grid", "02", "-p", "seed", "0:4", cwd=house)
    assert status == 1
    ran = (house / "notebooks" / "ran").read_text().split()
    assert {seed: ran.count(seed) for seed in "0123"} == {"0": 3, "1": 3, "2": 1, "3": 1}
    assert output.count("is tried again: in cell [4] import os: The kernel died") == 4
    assert "3/4] 02_dies" in output and "ValueError: the same each time" in output
    table = rows(house / "runs" / "grid" / "runs.csv")
    assert [row["seed"] for row in table] == ["1", "2"], "what broke off is no evidence"
    faults = [json.loads(path.read_text()) for path in house.rglob("fault.json")]
    assert sorted((item["parameters"]["seed"], item["fault"]["cell"]) for item in faults) == [
        (0, 4), (3, 4),
    ]  # fmt: skip
    assert all(item["records"][0]["name"] == "early" for item in faults)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_dask_worker_costs_no_run(house):
    write_notebook(house / "notebooks" / "02_waits.ipynb", *WAITS)
    notebooks = house / "notebooks"
    command = start("grid", "02", "-p", "seed", "1:4", "--jobs", 2, cwd=house)
    wait_for(lambda: (notebooks / "begun1").exists() and (notebooks / "begun2").exists())
    kernel = psutil.Process(int((notebooks / "begun1").read_text()))
    worker = kernel.parent().parent()  # of Dask: it started the process that runs the notebook
    assert "spawn_main" in " ".join(worker.cmdline())
    worker.kill()
    wait_for(lambda: ended(kernel.pid), 15)
    (notebooks / "go").touch()
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 0, output
    assert "is tried again: KilledWorker" in output
    assert sorted((notebooks / "ran").read_text().split("\n")[:-1]) == [
        f"{seed} digits" for seed in (1, 2, 3)
    ]


@pytest.fixture
def scheduler(tmp_path):
    """A Dask scheduler and two workers, started by hand: `(address, processes)`."""
    port = str(20_000 + os.getpid() % 20_000)
    address = f"tcp://127.0.0.1:{port}"
    common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    processes = [
        subprocess.Popen(
            [*program, "--host", "127.0.0.1", "--port", port, "--no-dashboard"], **common
        )
    ]
    for _ in range(2):
        program = [sys.executable, "-m", "distributed.cli.dask_worker", address]
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        processes.append(subprocess.Popen([*program, *options], **common))
    yield address, processes
    for process in reversed(processes):
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_running_scheduler_may_lose_a_worker_and_a_stop_ends_the_runs_on_it(house, scheduler):
    address, processes = scheduler
    notebooks = house / "notebooks"
    write_notebook(notebooks / "02_waits.ipynb", *WAITS)
    arguments = ("grid", "02", "-p", "seed", "1:4", "--on", address)
    command = start(*arguments, cwd=house)
    wait_for(lambda: (notebooks / "begun1").exists() and (notebooks / "begun2").exists())
    kernels = [int((notebooks / f"begun{seed}").read_text()) for seed in (1, 2)]
    command.send_signal(signal.SIGINT)
    output, _ = command.communicate(timeout=60)
    assert command.returncode == 130 and "goes on from what has finished" in output
    wait_for(lambda: all(map(ended, kernels)), 10)
    assert all(process.poll() is None for process in processes), "which are not ours to end"

    for path in notebooks.glob("begun*"):
        path.unlink()
    command = start(*arguments, cwd=house)
    wait_for(lambda: (notebooks / "begun1").exists() and (notebooks / "begun2").exists())
    kernels = [int((notebooks / f"begun{seed}").read_text()) for seed in (1, 2)]
    processes[1].kill()
    wait_for(lambda: any(map(ended, kernels)), 10)
    (notebooks / "go").touch()
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 0, output
    assert len(rows(house / "runs" / "grid" / "runs.csv")) == 3
    assert (notebooks / "ran").read_text().count("\n") == 3

    processes[0].kill()
    status, output = aelib(*arguments, cwd=house)
    assert status == 0 and output.count("was done already") == 3, "without a scheduler"
    status, output = aelib(*arguments, "--force", cwd=house)
    assert status == 2 and f"no Dask scheduler at {address!r}" in output


def test_on_slurm_each_job_is_a_worker_of_one_core(house):
    status, output = aelib("grid", "1", "--on", "slurm", "--dry-run", cwd=house)
    assert status == 0, output
    script = output[output.index("#!/usr/bin/env bash") :]
    for line in ("#SBATCH -n 1", "#SBATCH --cpus-per-task=1", "#SBATCH --mem=4G", "-t 04:00:00"):
        assert line in script
    assert sys.executable in script and "--nthreads 1 " in script and "tcp://" in script
    config = house / "dask.yaml"
    config.write_text("jobqueue:\n  slurm:\n    queue: long\n    walltime: '12:00:00'\n")
    _, output = aelib("grid", "1", "--on", "slurm", "--dry-run", cwd=house, DASK_CONFIG=str(config))
    assert "#SBATCH -p long" in output and "-t 12:00:00" in output

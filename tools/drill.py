"""A hundred kills, and what is left: `python tools/drill.py [KILLS]`.

Runs a grid of forty short notebooks again and again, and kills something at random moments: the
command, a worker with its notebook, a kernel, a worker of Dask, the scheduler. Then it counts the
runs that were lost, run again although they were whole, or not whole, and processes that live on.
Half of the rounds are on a local cluster, half on a scheduler started by hand. Not in `make test`.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import nbformat.v4 as v4
import psutil

RUNS, PATIENCE = 40, 5  # runs of a grid, seconds that a process may outlive its command
MARK = "AELIB_DRILL"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CELLS = (
    # A child that ignores the polite signal, as programs do that a notebook starts.
    "import subprocess, sys\n"
    "code = 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'\n"
    "child = subprocess.Popen([sys.executable, '-c', code])",
    "from aelib import claims\nclaims.begin(datasets=['digits'])",
    "claims.claim('a seed is no more than itself', seed, '<=', seed)\n"
    "claims.record('own', seed, unit='')",
    "with open('ran', 'a') as file:\n    file.write(f'{seed}\\n')",
)
KINDS = {
    "worker": "aelib.runner.worker",
    "kernel": "ipykernel_launcher",
    "Dask worker": "spawn_main",
    "Dask worker by hand": "distributed.cli.dask_worker",
}


class Round:
    """One grid, from its first run until it is whole."""

    def __init__(self, folder: Path, by_hand: bool):
        self.folder, self.by_hand = folder, by_hand
        self.mark = uuid.uuid4().hex
        self.port = random.randrange(20_000, 50_000)
        self.helpers: list[subprocess.Popen] = []  # scheduler and workers, started by hand
        self.whole: set[int] = set()
        self.counts: Counter[str] = Counter()
        self.seen: Counter[int] = Counter()  # how often each run has come to its end
        path = folder / "notebooks" / "01_short.ipynb"
        path.parent.mkdir(parents=True)
        cells = [v4.new_code_cell("seed: int = 0", metadata={"tags": ["parameters"]})]
        cells += map(v4.new_code_cell, CELLS)
        path.write_text(json.dumps(v4.new_notebook(cells=cells)))
        self.ran = path.with_name("ran")

    def start(self) -> subprocess.Popen:
        """The command, and the scheduler where it is not running."""
        command = ["aelib.runner.cli", "grid", "01", "-p", "seed", f"0:{RUNS}"]
        if self.by_hand:
            command += ["--on", f"tcp://127.0.0.1:{self.port}"]
            if any(process.poll() is not None for process in self.helpers) or not self.helpers:
                self.restart_dask()
        return self._python(*command)

    def restart_dask(self) -> None:
        self.end_dask()
        self.port += 1
        here = ("--host", "127.0.0.1", "--no-dashboard")
        port = ("--port", str(self.port))
        self.helpers = [self._python("distributed.cli.dask_scheduler", *here, *port)]
        time.sleep(2)
        worker = ("distributed.cli.dask_worker", f"tcp://127.0.0.1:{self.port}", "--no-nanny")
        self.helpers += [self._python(*worker, *here, "--nthreads", "1") for _ in range(2)]

    def end_dask(self) -> None:
        for process in self.helpers:
            process.kill()
            process.wait()
        self.helpers = []

    def _python(self, *arguments: str) -> subprocess.Popen:
        with open(self.folder / "log", "a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                env={**os.environ, MARK: self.mark},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_hear_interrupts,  # which a job in the background does not
            )

    def processes(self) -> list[psutil.Process]:
        """All that this round has started and that lives."""
        found = []
        for process in psutil.process_iter():
            try:
                living = process.status() != psutil.STATUS_ZOMBIE
                if living and process.environ().get(MARK) == self.mark:
                    found.append(process)
            except psutil.Error:
                pass
        return found

    def victim(self, command: subprocess.Popen) -> tuple[str, int] | None:
        """A process to kill, of a kind that is drawn first."""
        kinds: dict[str, list[int]] = {"command": [command.pid]}
        if self.helpers:
            kinds["scheduler"] = [self.helpers[0].pid]
        for process in self.processes():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            for kind, text in KINDS.items():
                if text in line:
                    kinds.setdefault(kind, []).append(process.pid)
        kind = random.choice(sorted(kinds))
        return kind, random.choice(kinds[kind])

    def check(self) -> None:
        """Counts what is wrong now that no command runs, and notes which runs are whole."""
        end = time.monotonic() + PATIENCE
        helpers = {process.pid for process in self.helpers}
        while (left := [p for p in self.processes() if p.pid not in helpers]) and (
            time.monotonic() < end
        ):
            time.sleep(0.2)
        for process in left:
            print("  orphan:", " ".join(process.cmdline())[:150], flush=True)
            process.kill()
        self.counts["orphans"] += len(left)
        ran = Counter(map(int, self.ran.read_text().split())) if self.ran.exists() else Counter()
        self.counts["repeated"] += sum(ran[seed] > self.seen[seed] for seed in self.whole)
        self.seen = ran
        self.whole = set()
        for marker in self.folder.glob("runs/grid/*/done.json"):
            try:
                json.loads(marker.read_text())
                results = json.loads(marker.with_name("results.json").read_text())
                json.loads(marker.with_name("01_short.ipynb").read_text())
                assert results["records"][0]["value"] == results["parameters"]["seed"]
                self.whole.add(results["parameters"]["seed"])
            except (OSError, ValueError, AssertionError, IndexError) as error:
                print("  not whole:", marker, error, flush=True)
                self.counts["not whole"] += 1


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def drill(kills: int) -> Counter[str]:
    """Kills so often, a quarter of it in each of four rounds."""
    total: Counter[str] = Counter()
    for number in range(4):
        with tempfile.TemporaryDirectory() as folder:
            this = Round(Path(folder), by_hand=number % 2 == 1)
            print(f"round {number}, {'by hand' if this.by_hand else 'local'}", flush=True)
            try:
                _round(this, total, kills * (number + 1) // 4)
            finally:
                this.end_dask()
                for process in this.processes():
                    process.kill()
            litter = [path for path in Path(folder).rglob(".*.part")]
            this.counts["part files"] += len(litter)
            total += this.counts
    return total


def _round(this: Round, total: Counter[str], kills: int) -> None:
    starts = 0
    while len(this.whole) < RUNS:
        command, starts = this.start(), starts + 1
        while command.poll() is None and total["kills"] < kills:
            time.sleep(random.uniform(0.5, 12))
            if command.poll() is None and (victim := this.victim(command)):
                kind, process = victim
                which = random.choice(SIGNALS)
                try:
                    os.kill(process, which)
                except ProcessLookupError:
                    continue
                total["kills"] += 1
                total[f"of {kind}"] += 1
                print(f"{total['kills']:4} {which.name} to {kind}", flush=True)
                if kind in ("command", "scheduler"):
                    break
        try:
            command.wait(timeout=300)
        except subprocess.TimeoutExpired:
            print("  hangs", flush=True)
            this.counts["hanging commands"] += 1
            command.kill()
        this.check()
        print(f"     {len(this.whole)} of {RUNS} whole", flush=True)
        if command.returncode == 0 and len(this.whole) < RUNS:
            this.counts["lost"] += RUNS - len(this.whole)
            print("  lost, though the command was content", flush=True)
            break
        if starts == 100:
            print((this.folder / "log").read_text()[-2_000:])
            raise RuntimeError("A hundred starts, and not whole yet.")


if __name__ == "__main__":
    found = drill(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    print(f"{found.pop('kills')} kills:", dict(sorted(found.items())))
    bad = ("lost", "repeated", "orphans", "not whole", "hanging commands", "part files")
    print(", ".join(f"{found[name]} {name}" for name in bad))
    sys.exit(any(found[name] for name in bad))

"""Changes one thing at a time in a module and counts the changes that the tests notice.

    python tools/mutants.py [--sample N] [--seed N] [MODULE ...]

The changes are mutmut's: an operator, a number, a string, a condition, an argument left out. Text
of errors, annotations, docstrings and decorated functions stay as they are. TensorFlow starts once,
and each change is tried in a fork of that process: this needs POSIX. It meets those tests of the
module that call the function it is in, the quickest first, until one fails; a change outside
functions meets them all.
"""

import argparse
import ast
import difflib
import gc
import importlib.util
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import pytest
from mutmut.mutation.file_mutation import create_mutations
from scipy import stats

ROOT = Path(__file__).parents[1]
MODULES = ["losses", "information", "sparse", "contractive", "variational", "disentanglement"]
LIMIT = 900  # seconds of CPU: a change may leave a loop without an end
PYTEST = "-x -q -p no:cacheprovider -p no:unraisableexception".split()  # it collects garbage


class Notes:
    """Notes how long each test takes, and which functions it calls."""

    def __init__(self, module: str, path: Path):
        self.module, self.path, self.tests = f"aelib.{module}", path, {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        called = sys.modules[self.module]._called
        called.clear()
        start = time.process_time()
        done = yield
        self.tests[item.nodeid] = time.process_time() - start, sorted(called)
        return done

    def pytest_sessionfinish(self):
        self.path.write_text(json.dumps(self.tests), encoding="utf-8")


class Quickest:
    """Runs these tests, the quickest first."""

    def __init__(self, seconds: dict[str, float]):
        self.seconds = seconds

    def pytest_collection_modifyitems(self, items):
        chosen = [item for item in items if item.nodeid in self.seconds]
        items[:] = sorted(chosen, key=lambda item: self.seconds[item.nodeid])


def noting(text: str) -> str:
    """The module, but each function adds its first and last line to the set `_called`."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body[:0] = ast.parse(f"_called.add(({node.lineno}, {node.end_lineno}))").body
    return f"_called = set()\n{ast.unparse(tree)}"


def mutants(text: str, size: int | None, seed: int) -> tuple[list[str], int]:
    """The module with one change, for each that is drawn, and how many there are to draw from."""
    lines = set(range(1, text.count("\n") + 2))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.If | ast.ExceptHandler) and isinstance(node.body[-1], ast.Raise):
            lines -= set(range(node.body[0].lineno, node.body[-1].end_lineno + 1))
    tree, every, *_ = create_mutations("", text, lines)
    drawn = random.Random(seed).sample(every, min(size or len(every), len(every)))
    return [tree.deep_replace(m.original_node, m.mutated_node).code for m in drawn], len(every)


def difference(text: str, other: str) -> tuple[int, str]:
    """The first line that a change touches, and what becomes of it."""
    before, after = text.splitlines(), other.splitlines()
    codes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    _, a, b, c, d = next(code for code in codes if code[0] != "equal")
    old, new = (" ".join(map(str.strip, part)) for part in (before[a:b], after[c:d]))
    return a + 1, f"{old}  ->  {new}"


def status(module: str, text: str, plugin: Notes | Quickest) -> int:
    """What pytest ends with, in a fork where `aelib.module` has this text; 0 is success."""

    def run():
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1), os.dup2(nothing, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
        # A file of its own, since AutoGraph reads the source again, and Python keeps what it read.
        path = Path(tempfile.mkdtemp(), f"{module}.py")
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"aelib.{module}", path)
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])
        os._exit(pytest.main([*PYTEST, f"tests/test_{module}.py"], [plugin]))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    return process.exitcode


def survivors(module: str, text: str, changed: list[str]) -> int:
    """Prints the changes that no test notices, and counts them."""
    notes, found = Path(tempfile.gettempdir(), "notes.json"), 0
    if status(module, noting(text), Notes(module, notes)):
        raise SystemExit(f"The tests of {module} fail as they are.")
    tests = json.loads(notes.read_text(encoding="utf-8"))
    every = {test: seconds for test, (seconds, _) in tests.items()}
    if status(module, text, Quickest(every)):
        raise SystemExit(f"The tests of {module} fail in another order.")
    for other in changed:
        line, what = difference(text, other)
        near = [t for t in tests if any(first <= line <= last for first, last in tests[t][1])]
        chosen = {test: every[test] for test in near or tests}
        if status(module, other, Quickest(chosen)) in (0, 5):  # 5: none was run
            found += 1
            print(f"{module}:{line}: {what}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=MODULES)
    parser.add_argument("--sample", type=int, help="how many of a module's changes to draw")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    given = parser.parse_args()
    os.chdir(ROOT)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.path.insert(0, str(ROOT))
    from aelib._quiet import import_quietly

    for name in ("keras", "sklearn.ensemble", "sklearn.metrics"):
        import_quietly(name)
    gc.freeze()  # what is shared with the forks
    for module in given.modules:
        text = Path("aelib", f"{module}.py").read_text(encoding="utf-8")
        changed, count = mutants(text, given.sample, given.seed)
        with tempfile.TemporaryDirectory() as tempfile.tempdir:
            killed = len(changed) - survivors(module, text, changed)
        tempfile.tempdir = None
        low, high = stats.binomtest(killed, len(changed)).proportion_ci(method="wilson")
        of = f"; {low:.1%} to {high:.1%} of all {count}" if len(changed) < count else ""
        print(f"{module}: {killed} of {len(changed)} noticed, {killed / len(changed):.1%}{of}")


if __name__ == "__main__":
    main()

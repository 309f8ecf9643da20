"""Changes one thing at a time in a module and counts the changes that the tests notice.

    python tools/mutants.py [--sample N] [--seed N] [MODULE ...]

The changes are those of mutmut: an operator, a number, a string, a condition, an argument left out.
Annotations, docstrings, decorated functions and what leads to a `raise`, its text, stay as they
are. `--sample` draws some of a module's changes, `--seed` says which; without it all are tried.

TensorFlow starts once, and each change is tried in a fork of that process: this needs POSIX. A
change meets the tests that call the function it is in, the quickest first, until one fails. One
outside functions meets all tests of the module.
"""

import argparse
import ast
import difflib
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
from scipy import stats

ROOT = Path(__file__).parents[1]
TESTS = {
    "losses": ["losses", "uses"],
    "information": ["information"],
    "sparse": ["sparse", "uses"],
    "contractive": ["contractive", "uses"],
    "variational": ["variational", "uses"],
    "disentanglement": ["disentanglement"],
}
HOUR = 3600


class Notes:
    """Writes down how long each test takes, and the lines of the functions that it calls."""

    def __init__(self, called: set[int]):
        self.called, self.tests = called, {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        self.called.clear()
        start = time.process_time()
        done = yield
        self.tests[item.nodeid] = time.process_time() - start, sorted(self.called)
        return done


def functions(text: str) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]


def noting(text: str) -> str:
    """The module, but each function adds its first line to the set `_called`."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body[:0] = ast.parse(f"_called.add({node.lineno})").body
    return f"_called = set()\n{ast.unparse(tree)}"


def mutants(text: str, size: int | None, seed: int) -> tuple[list[str], int]:
    """The module with one change, for each that is drawn, and how many there are to draw from."""
    from mutmut.mutation.file_mutation import create_mutations

    lines = set(range(1, text.count("\n") + 2))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.If | ast.ExceptHandler) and isinstance(node.body[-1], ast.Raise):
            lines -= set(range(node.body[0].lineno, node.body[-1].end_lineno + 1))
    tree, every, *_ = create_mutations("", text, lines)
    drawn = random.Random(seed).sample(every, min(size or len(every), len(every)))
    changed = [tree.deep_replace(m.original_node, m.mutated_node).code for m in drawn]
    return changed, len(every)


def difference(text: str, other: str) -> tuple[int, str]:
    """The first line that a change touches, and what becomes of it."""
    before, after = text.splitlines(), other.splitlines()
    codes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    _, a, b, c, d = next(code for code in codes if code[0] != "equal")
    old, new = (" ".join(map(str.strip, part)) for part in (before[a:b], after[c:d]))
    return a + 1, f"{old}  ->  {new}"


def status(folder: str, module: str, text: str, tests: list[str], seconds: float, notes="") -> int:
    """What pytest ends with, in a fork where `aelib.module` has this text; 0 is success."""

    def run():
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1), os.dup2(nothing, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
        # A file of its own, since AutoGraph reads the source again, and Python keeps what it read.
        path = Path(tempfile.mkdtemp(dir=folder), f"{module}.py")
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"aelib.{module}", path)
        loaded = sys.modules[f"aelib.{module}"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        plugins = [Notes(loaded._called)] if notes else []
        done = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins)
        if notes:
            Path(notes).write_text(json.dumps(plugins[0].tests), encoding="utf-8")
        os._exit(done)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(HOUR)
    process.kill()
    process.join()
    return process.exitcode


def survivors(folder: str, module: str, text: str, changed: list[str]) -> int:
    """Prints the changes that no test notices, and counts them."""
    files = [f"tests/test_{name}.py" for name in TESTS[module]]
    notes = f"{folder}/{module}.json"
    if ended := status(folder, module, noting(text), files, HOUR, notes):
        raise SystemExit(f"The tests of {module} fail as they are: pytest ended with {ended}")
    tests = json.loads(Path(notes).read_text(encoding="utf-8"))
    quickest = sorted(tests, key=lambda test: tests[test][0])
    limit = 60 + 5 * sum(seconds for seconds, _ in tests.values())
    found = 0
    for other in changed:
        line, what = difference(text, other)
        around = [n.lineno for n in functions(text) if n.lineno <= line <= n.end_lineno]
        called = [test for test in quickest if not around or around[-1] in tests[test][1]]
        if not called or not status(folder, module, other, called, limit):
            found += 1
            print(f"{module}:{line}: {what}{'' if called else '  (never called)'}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=list(TESTS))
    parser.add_argument("--sample", type=int, help="how many changes of a module; all by default")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if unknown := set(arguments.modules) - set(TESTS):
        parser.error(f"MODULE must be one of {', '.join(TESTS)}. Received: {', '.join(unknown)}")
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    from aelib._quiet import import_tensorflow

    import_tensorflow()
    for name in ("keras", "sklearn.ensemble", "sklearn.metrics"):
        importlib.import_module(name)
    for module in arguments.modules:
        text = (ROOT / "aelib" / f"{module}.py").read_text(encoding="utf-8")
        changed, count = mutants(text, arguments.sample, arguments.seed)
        with tempfile.TemporaryDirectory() as folder:
            killed = len(changed) - survivors(folder, module, text, changed)
        low, high = stats.binomtest(killed, len(changed)).proportion_ci(method="wilson")
        print(f"{module}: {killed} of {len(changed)} noticed, {killed / len(changed):.1%}", end="")
        whole = len(changed) == count
        print("" if whole else f" ({low:.0%} to {high:.0%} of all {count})", flush=True)


if __name__ == "__main__":
    main()

"""What goes wrong with downloads and disks, made to happen: a local server that misbehaves,
processes that are killed, folders that cannot be written."""

import contextlib
import errno
import fcntl
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import aelib.data as data
from aelib.data import _mnist, _remote, _store

NOWHERE = "http://127.0.0.1:9/"  # a connection is refused at once
FOUR = ("x_train", "y_train", "x_test", "y_test")

# A process of its own with the test's folder, server and hashes; exits with 3 where the dataset
# is unavailable.
CHILD = """
import json, os, resource, sys
import certifi, filelock, numpy.random, tqdm  # all that is imported late, before rights are dropped
from pathlib import Path
from aelib import data
from aelib.data import _mnist, _store, digits
_mnist.MNIST_MIRROR = "http://127.0.0.1:9/"
folder, _mnist.BASE_URL, _mnist._MNIST_ARRAYS, name, largest_file, user = json.loads(sys.argv[1])
_store.cache_folder = lambda: Path(folder)
if largest_file:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
if user:
    os.setuid(user)
try:
    print(data.fetch(name) if name != "digits" else digits.read().x.shape)
except data.DatasetUnavailable as error:
    print(error)
    sys.exit(3)
"""


# What a server can send for ever, after what else, and before anything is a file.
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "status": (b"", b"H"),
    "header": (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "size of a chunk": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\n", b"X: a\r\n"),
}


class Server(ThreadingHTTPServer):
    """Serves `files` by name, in the way that `mode` says, and counts what is asked of it."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.files: dict[str, bytes] = {}
        self.mode = "whole"
        self.asked: list[str] = []
        self.half_sent = threading.Event()
        self.go_on = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, name = self.server, self.path.strip("/")
        server.asked.append(name)
        content = server.files.get(name)
        if content is None:
            return self.send_error(404)
        if server.mode.startswith("to "):
            self.send_response(302)
            self.send_header("Location", server.mode[3:])
            self.send_header("Content-Length", "abc")
            return self.end_headers()
        if server.mode in ENDLESS:
            first, again = ENDLESS[server.mode]
            self.wfile.write(first)
            with contextlib.suppress(ConnectionError):
                while not server.go_on.wait(0.05):
                    self.wfile.write(again)
            return None
        if server.mode == "words":
            return self.wfile.write(b"HTTP/1.1 404 \x1b]0;t\x07" + b"x" * 9000 + b"\r\n\r\n")
        if server.mode in ("endless", "drip"):
            return self.send_without_end()
        if server.mode == "wrong":
            content = bytes(reversed(content))
        half = len(content) // 2
        self.send_response(200)
        if server.mode != "cut without length":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:half])
        self.wfile.flush()
        server.half_sent.set()
        if server.mode.startswith("cut"):
            return None  # the connection is closed here
        if server.mode == "hang":
            server.go_on.wait(30)
        if server.mode == "slow":
            time.sleep(1)
        self.wfile.write(content[half:])

    def send_without_end(self):
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            while not self.server.go_on.is_set():
                self.wfile.write(bytes(2**20 if self.server.mode == "endless" else 1))
                self.wfile.flush()
                time.sleep(0.1 if self.server.mode == "drip" else 0)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()


@pytest.fixture
def own(tmp_path, monkeypatch, server):
    """The own data folder of the test, and a small MNIST that the server has."""
    random = np.random.default_rng(0)
    arrays = {
        "x_train": random.integers(0, 256, (300, 28, 28), dtype=np.uint8),
        "y_train": random.integers(0, 10, 300, dtype=np.uint8),
        "x_test": random.integers(0, 256, (50, 28, 28), dtype=np.uint8),
        "y_test": random.integers(0, 10, 50, dtype=np.uint8),
    }
    np.savez(tmp_path / "served.npz", **arrays)
    server.files["mnist.npz"] = (tmp_path / "served.npz").read_bytes()
    hashes = {key: hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()}
    folder = tmp_path / "own"
    monkeypatch.delenv(_store.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(_store, "cache_folder", lambda: folder)
    monkeypatch.setattr(_mnist, "BASE_URL", server.url)
    for mirror in ("MNIST_MIRROR", "FASHION_MIRROR"):
        monkeypatch.setattr(_mnist, mirror, NOWHERE)
    monkeypatch.setattr(_mnist, "_MNIST_ARRAYS", hashes)
    return folder


def start(own: Path, *, name="mnist", largest_file=0, user=0) -> subprocess.Popen:
    settings = [str(own), _mnist.BASE_URL, _mnist._MNIST_ARRAYS, name, largest_file, user]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def files(folder: Path) -> list[str]:
    """What lies in a folder, without the lock files, which are empty and stay."""
    if not folder.exists():
        return []
    return sorted(path.name for path in folder.rglob("*") if path.suffix != ".lock")


def assert_ways_out(message: str) -> None:
    for way in (_store.DATA_VARIABLE, "aelib data fetch mnist", "data.load('digits')"):
        assert way in message


def test_a_download_that_works_happens_once(own, server):
    first = data.load("mnist", validation=50)
    assert str(first) == "mnist: 250 train, 50 valid, 50 test images of 28 x 28 x 1"
    np.testing.assert_array_equal(data.load("mnist", validation=50).train.x, first.train.x)
    assert server.asked == ["mnist.npz"]
    assert files(own) == ["mnist.npz"]
    assert data.fetch("mnist") == str(own / "mnist.npz")


@pytest.mark.parametrize("mode", ["cut", "cut without length", "wrong"])
def test_a_cut_or_wrong_download_is_refused_and_the_next_start_is_clean(own, server, mode):
    server.mode = mode
    with pytest.raises(data.DatasetUnavailable) as caught:
        data.load("mnist")
    assert_ways_out(str(caught.value))
    assert files(own) == []
    server.mode = "whole"
    assert len(data.load("mnist", validation=0).train.x) == 300


def test_a_server_that_hangs_is_left_after_the_time_out(own, server, monkeypatch):
    monkeypatch.setattr(_remote, "TIMEOUT", 0.5)
    server.mode = "hang"
    begin = time.monotonic()
    with pytest.raises(data.DatasetUnavailable, match=r"(?i)timed? ?out"):
        data.fetch("mnist")
    assert time.monotonic() - begin < 10
    assert files(own) == [".mnist.offline"]


def test_a_file_that_the_server_does_not_have(own, server):
    server.files.clear()
    with pytest.raises(data.DatasetUnavailable, match="404"):
        data.fetch("mnist")


@pytest.mark.parametrize("address", [NOWHERE, "https://aelib.invalid/"])
def test_without_a_network_it_fails_fast_and_the_digits_stand_in(own, monkeypatch, capsys, address):
    monkeypatch.setattr(_mnist, "BASE_URL", address)
    begin = time.monotonic()
    with pytest.raises(data.DatasetUnavailable) as caught:
        data.load("mnist")
    assert_ways_out(str(caught.value))
    images = data.load_or_embedded("mnist", limit=20)
    assert time.monotonic() - begin < 30
    assert (images.name, len(images.train.x)) == ("digits", 20)
    assert capsys.readouterr().out == (
        "mnist is not on this machine and could not be downloaded: "
        "using the embedded digits instead.\n"
    )


def test_a_reason_is_short_and_no_module_warns_of_missing_widgets(own, monkeypatch):
    for address in ("BASE_URL", "MNIST_MIRROR"):
        monkeypatch.setattr(_mnist, address, "https://aelib.invalid/")
    program = f"""if True:
        import sys
        from pathlib import Path
        from aelib.data import _mnist, _store, load_or_embedded
        _mnist.BASE_URL = _mnist.MNIST_MIRROR = {NOWHERE!r}
        _store.cache_folder = lambda: Path({str(own)!r})
        load_or_embedded("mnist", limit=1)
        assert "tqdm.auto" not in sys.modules  # it warns in a notebook: IProgress not found
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    with pytest.raises(data.DatasetUnavailable) as caught:
        data.fetch("mnist")
    reason = str(caught.value).splitlines()[0]
    assert "no connection to aelib.invalid" in reason and len(reason) < 200


def test_that_there_is_no_network_is_remembered_for_ten_minutes(own, server, monkeypatch):
    monkeypatch.setattr(_mnist, "BASE_URL", NOWHERE)
    with pytest.raises(data.DatasetUnavailable, match="no connection to 127.0.0.1"):
        data.load("mnist")
    note = own / ".mnist.offline"
    monkeypatch.setattr(_mnist, "BASE_URL", server.url)
    with pytest.raises(data.DatasetUnavailable, match=r"no connection to 127.0.0.1.*0 min ago"):
        data.load("mnist")
    assert server.asked == []
    data.fetch("mnist")  # asks all the same
    assert server.asked == ["mnist.npz"] and not note.exists()

    (own / "mnist.npz").unlink()
    note.write_text("no connection")
    os.utime(note, (0, time.time() - _remote.OFFLINE - 1))
    data.load("mnist", validation=0)
    assert not note.exists()


@pytest.mark.parametrize("proxy", ["", "http://proxy.invalid:3128", "proxy.invalid"])
def test_packets_that_vanish_cost_one_time_out(own, monkeypatch, proxy):
    """A resolver that hangs, or a server or proxy of many addresses none of which answers."""
    released = threading.Event()
    if proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(_remote, "CONNECT", 0.3)

    def hang(*_):
        released.wait(30)
        raise ConnectionAbortedError("too late")

    monkeypatch.setattr(_remote.socket, "create_connection", hang)
    begin = time.monotonic()
    for _ in range(3):
        with pytest.raises(data.DatasetUnavailable, match="timed out"):
            data.load("mnist")
    assert time.monotonic() - begin < 5
    released.set()


@pytest.mark.parametrize("mode", ["endless", "drip", *ENDLESS])
def test_a_download_without_an_end_is_cut(own, server, monkeypatch, mode):
    monkeypatch.setattr(_remote, "LARGEST", 10_000_000)
    monkeypatch.setattr(_remote, "PATIENCE", 30.0 if mode == "endless" else 1.0)
    server.mode = mode
    begin = time.monotonic()
    match = "more than 10 MB" if mode == "endless" else "too slow"
    with pytest.raises(data.DatasetUnavailable, match=match):
        data.load("mnist")
    assert time.monotonic() - begin < 15
    assert not (own / "mnist.npz").exists() and not (own / ".mnist.partial").exists()


def test_what_a_server_says_is_short_and_sends_nothing_to_a_terminal(own, server):
    server.mode = "words"
    with pytest.raises(data.DatasetUnavailable, match=r"404: \\x1b\]0;t\\x07xxx") as caught:
        data.load("mnist")
    reason = str(caught.value).splitlines()[0]
    assert reason.isprintable() and len(reason) < 400


@pytest.mark.parametrize(
    "place",
    ["http://[::1", "http://127.0.0.1:99999/", "http://a:b/", "http://\xff.\xfe/", "gopher://a"],
)
def test_a_redirect_to_nowhere(own, server, place):
    server.mode = f"to {place}"
    with pytest.raises(data.DatasetUnavailable):
        data.load("mnist")
    assert data.load_or_embedded("mnist", limit=1).name == "digits"


def test_load_or_embedded_says_nothing_where_the_dataset_is_there(own, capsys):
    assert data.load_or_embedded("mnist", validation=10).name == "mnist"
    assert capsys.readouterr().out == ""


def test_three_processes_at_once_download_once(own, server):
    server.mode = "slow"
    children = [start(own) for _ in range(3)]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert (child.returncode, out.strip()) == (0, str(own / "mnist.npz")), err
    assert server.asked == ["mnist.npz"]
    assert files(own) == ["mnist.npz"]


@pytest.fixture
def stopped(own):
    """Another process that has both locks and has been stopped."""
    own.mkdir()
    program = (
        "import filelock, signal, sys\n"
        "held = [filelock.FileLock(path).acquire() for path in sys.argv[1:]]\n"
        "print('held', flush=True)\n"
        "signal.pause()\n"
    )
    paths = [own / ".digits.lock", own / ".mnist.lock"]
    command = [sys.executable, "-c", program, *paths]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        yield process
        process.kill()


def test_a_stopped_process_is_waited_for_with_a_word_and_not_for_ever(
    own, server, stopped, monkeypatch, capsys
):
    monkeypatch.setattr(_store, "SILENT", 0.1)
    monkeypatch.setattr(_remote, "PATIENCE", 0.2)
    monkeypatch.setattr(_store, "PATIENCE", 0.2)
    assert data.load("digits", limit=1).name == "digits"
    (line,) = capsys.readouterr().err.splitlines()
    assert "Waiting for" in line and line.endswith(f"{own / '.digits.lock'}")
    with pytest.raises(data.DatasetUnavailable, match="mnist.lock"):
        data.load("mnist")
    assert server.asked == [] and files(own) == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{own / '.mnist.lock'}")
    stopped.kill()
    stopped.wait()  # only then its locks are free
    assert data.load("mnist", validation=0).name == "mnist"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("fault", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_a_file_system_without_flock(own, server, monkeypatch, fault):
    def fails(*_):
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(fcntl, "flock", fails)
    assert data.load("mnist", validation=0).name == "mnist"
    assert files(own) == ["mnist.npz"]
    with _store.lock("mnist", 1):
        with pytest.raises(TimeoutError), _store.lock("mnist", 0.1):
            pass
    with _store.lock("mnist", 0.1):
        pass


def test_a_killed_download_leaves_nothing_that_looks_whole(own, server):
    server.mode = "hang"
    child = start(own)
    assert server.half_sent.wait(60)
    half = own / ".mnist.partial" / "mnist.npz"
    deadline = time.monotonic() + 20
    while not (half.exists() and half.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert 0 < half.stat().st_size < len(server.files["mnist.npz"])
    assert not (own / "mnist.npz").exists()
    assert data.status()[0].path is None

    server.mode = "whole"
    data.fetch("mnist")
    assert files(own) == ["mnist.npz"]  # what the killed process left is gone


def test_a_full_disk(own, server):
    child = start(own, largest_file=100_000)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 3, err
    assert_ways_out(out)
    assert "File too large" in out or "No space left" in out
    assert files(own) == []


def test_digits_on_a_full_disk_are_drawn_all_the_same(own):
    child = start(own, name="digits", largest_file=100_000)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out.strip()) == (0, "(12000, 28, 28)"), err
    assert files(own) == []


@pytest.fixture
def read_only():
    """A folder, outside pytest's private one, that nobody may write."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        yield Path(name)
        Path(name).chmod(0o755)


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_read_only_folder(own, read_only, below):
    user = 65534 if os.geteuid() == 0 else 0  # permissions do not bind root
    child = start(read_only / below, user=user)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 3, err
    assert "PermissionError" in out
    assert_ways_out(out)

    child = start(read_only / below, name="digits", user=user)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out.strip()) == (0, "(12000, 28, 28)"), err
    assert list(read_only.iterdir()) == []


def test_a_folder_that_is_a_file(own, tmp_path, monkeypatch):
    monkeypatch.setattr(_store, "cache_folder", lambda: tmp_path / "served.npz" / "below")
    with pytest.raises(data.DatasetUnavailable) as caught:
        data.fetch("mnist")
    assert_ways_out(str(caught.value))


@pytest.mark.parametrize("damage", ["cut", "flipped", "garbage", "empty", "other numbers"])
class TestDamagedFile:
    def damage(self, path: Path, whole: bytes, damage: str) -> None:
        middle = len(whole) // 2
        path.parent.mkdir(exist_ok=True)
        if damage == "other numbers":
            x, y = np.zeros((9, 28, 28), np.uint8), np.zeros(9, np.uint8)
            np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
            return
        path.write_bytes(
            {
                "cut": whole[:middle],
                "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
                "garbage": b"garbage",
                "empty": b"",
            }[damage]
        )

    def test_is_downloaded_again(self, own, server, damage):
        whole = server.files["mnist.npz"]
        self.damage(own / "mnist.npz", whole, damage)
        assert len(data.load("mnist", validation=0).train.x) == 300
        assert server.asked == ["mnist.npz"]
        assert (own / "mnist.npz").read_bytes() == whole

    def test_without_a_network_is_not_used(self, own, server, monkeypatch, damage):
        self.damage(own / "mnist.npz", server.files["mnist.npz"], damage)
        monkeypatch.setattr(_mnist, "BASE_URL", NOWHERE)
        with pytest.raises(data.DatasetUnavailable, match="missing or damaged"):
            data.load("mnist")

    def test_in_the_given_folder_is_an_error_that_names_it(
        self, own, server, tmp_path, monkeypatch, damage
    ):
        path = tmp_path / "given" / "mnist.npz"
        self.damage(path, server.files["mnist.npz"], damage)
        before = path.read_bytes()
        monkeypatch.setenv(_store.DATA_VARIABLE, str(path.parent))
        for call in (data.load, data.load_or_embedded, data.fetch):
            with pytest.raises(data.CorruptFile) as caught:
                call("mnist")
            assert str(caught.value).endswith(f"Received: file={path}")
        assert path.read_bytes() == before and server.asked == []


def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(own, monkeypatch):
    own.mkdir()
    np.savez_compressed(
        own / "mnist.npz", **dict.fromkeys(FOUR, np.zeros(_mnist._MNIST_UNPACKED // 3, np.uint8))
    )
    assert (own / "mnist.npz").stat().st_size < 1_000_000
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(data.CorruptFile, match="too large"):
        _mnist.MNIST.check(own / "mnist.npz")


class TestMirror:
    """The first address fails, and a second one has the four files that were first published."""

    @pytest.fixture(autouse=True)
    def served(self, own, server, monkeypatch, tmp_path):
        with np.load(tmp_path / "served.npz") as file:
            arrays = {key: file[key] for key in FOUR}
        for key, array in arrays.items():
            part = "train" if key.endswith("train") else "t10k"
            kind, header = ("images-idx3", 16) if key[0] == "x" else ("labels-idx1", 8)
            packed = gzip.compress(bytes(header) + array.tobytes())
            server.files[f"mirror/{part}-{kind}-ubyte.gz"] = packed
        monkeypatch.setattr(_mnist, "MNIST_MIRROR", f"{server.url}mirror/")
        return arrays

    @pytest.mark.parametrize("failure", ["refused", "no such host", "missing", "damaged"])
    def test_serves_where_the_first_address_does_not(
        self, own, server, monkeypatch, served, failure
    ):
        addresses = {"refused": NOWHERE, "no such host": "https://aelib.invalid/"}
        monkeypatch.setattr(_mnist, "BASE_URL", addresses.get(failure, server.url))
        if failure == "missing":
            del server.files["mnist.npz"]
        if failure == "damaged":
            server.files["mnist.npz"] = bytes(1000)
        mnist = data.load("mnist", validation=50)
        x = np.rint(255 * np.concatenate([mnist.train.x, mnist.valid.x])[..., 0])
        np.testing.assert_array_equal(x, served["x_train"])
        np.testing.assert_array_equal(mnist.test.y, served["y_test"])
        assert files(own) == ["mnist.npz"]  # and no note of a network that is missing
        assert data.fetch("mnist") == str(own / "mnist.npz")
        assert server.asked.count("mirror/t10k-labels-idx1-ubyte.gz") == 1

    def test_is_not_asked_where_the_first_address_serves(self, own, server):
        data.load("mnist", validation=50)
        assert server.asked == ["mnist.npz"]

    @pytest.mark.parametrize("content", [b"", b"no gzip", "cut", "other", "short", "bomb"])
    def test_is_believed_no_more_than_the_first(self, own, server, monkeypatch, content):
        monkeypatch.setattr(_mnist, "BASE_URL", NOWHERE)
        monkeypatch.setattr(_mnist, "_MNIST_UNPACKED", 1_000_000)
        name = "mirror/train-images-idx3-ubyte.gz"
        whole = server.files[name]
        changed = {
            "cut": whole[:-9],
            "other": gzip.compress(bytes(16) + bytes(300 * 784)),
            "short": gzip.compress(bytes(7)),
            "bomb": gzip.compress(bytes(50_000_000)),
        }
        server.files[name] = changed.get(content, content)
        with pytest.raises(data.DatasetUnavailable, match=r"no connection.*; ") as caught:
            data.load("mnist")
        assert_ways_out(str(caught.value))
        assert files(own) == []
        server.files[name] = whole
        assert len(data.load("mnist", validation=0).train.x) == 300

    def test_both_reasons_are_given_and_kept_where_neither_is_reached(self, own, monkeypatch):
        monkeypatch.setattr(_mnist, "BASE_URL", NOWHERE)
        monkeypatch.setattr(_mnist, "MNIST_MIRROR", "https://aelib.invalid/")
        for _ in range(2):  # the second time from the note
            with pytest.raises(data.DatasetUnavailable, match="127.0.0.1: .*; .*aelib.invalid: "):
                data.load("mnist")
        assert files(own) == [".mnist.offline"]

    def test_of_fashion_mnist_has_the_files_that_are_missing(self, own, server, monkeypatch):
        packed = {name: gzip.compress(name.encode()) for name in _mnist._FASHION_FILES}
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()}
        monkeypatch.setattr(_mnist, "_FASHION_FILES", hashes)
        monkeypatch.setattr(_mnist, "FASHION_MIRROR", f"{server.url}mirror/")
        first, *rest = packed
        server.files = {f"{first}.gz": packed[first]}
        server.files |= {f"mirror/{name}.gz": packed[name] for name in rest}
        with pytest.raises(ValueError):  # no images: what counts is that all files are there
            data.fetch("fashion_mnist")
        assert files(own) == ["fashion-mnist", *sorted(f"{name}.gz" for name in packed)]
        assert f"mirror/{first}.gz" not in server.asked


class TestFashion:
    @pytest.fixture(autouse=True)
    def served(self, own, server, monkeypatch):
        random = np.random.default_rng(1)
        images = {
            name: random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            for name, count in (("train-images-idx3-ubyte", 40), ("t10k-images-idx3-ubyte", 10))
        }
        labels = {
            name: random.integers(0, 10, count, dtype=np.uint8)
            for name, count in (("train-labels-idx1-ubyte", 40), ("t10k-labels-idx1-ubyte", 10))
        }
        packed = {name: gzip.compress(bytes(16) + x.tobytes()) for name, x in images.items()}
        packed |= {name: gzip.compress(bytes(8) + y.tobytes()) for name, y in labels.items()}
        server.files = {f"{name}.gz": content for name, content in packed.items()}
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()}
        monkeypatch.setattr(_mnist, "_FASHION_FILES", hashes)
        return images | labels

    def test_four_files_become_one_dataset(self, own, served):
        fashion = data.load("fashion_mnist", validation=10)
        x = np.rint(255 * np.concatenate([fashion.train.x, fashion.valid.x])[..., 0])
        np.testing.assert_array_equal(x, served["train-images-idx3-ubyte"])
        np.testing.assert_array_equal(fashion.test.y, served["t10k-labels-idx1-ubyte"])
        assert data.fetch("fashion_mnist") == str(own / "fashion-mnist")

    def test_after_a_cut_only_the_missing_files_are_downloaded(self, own, server):
        last = "t10k-labels-idx1-ubyte.gz"
        content = server.files.pop(last)
        with pytest.raises(data.DatasetUnavailable):
            data.fetch("fashion_mnist")
        assert data.status()[1].path is None
        server.files[last] = content
        data.fetch("fashion_mnist")
        assert sorted(server.asked) == sorted([*server.files, last])

    def test_a_damaged_one_is_downloaded_again(self, own, server):
        data.fetch("fashion_mnist")
        path = own / "fashion-mnist" / "train-labels-idx1-ubyte.gz"
        path.write_bytes(path.read_bytes()[:-5])
        data.load("fashion_mnist", validation=1)
        assert server.asked.count(path.name) == 2 and len(server.asked) == 5

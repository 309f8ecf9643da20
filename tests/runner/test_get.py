"""`aelib get`: the lessons as a reader's own copy. `test_wheel.py` does so from a wheel."""

import json
import sys
from pathlib import Path

import pytest
from tiny_notebooks import aelib, write_notebook

from aelib.runner import UsageError, lessons
from aelib.runner.notebooks import numbered

ROOT = Path(__file__).parents[2]
RECORD = ".aelib-lessons.json"


@pytest.fixture
def origin(tmp_path, monkeypatch) -> Path:
    """Where two lessons and a study come from."""
    root = tmp_path / "origin"
    for name in ("notebooks/01_good", "notebooks/02_more", "notebooks/solutions/01_good"):
        write_notebook(root / f"{name}.ipynb", "print(1)")
    for name in ("notebooks/profiles/full/01_good_long.yaml", "studies/sizes/grid.yaml"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("profile: full\n")
    write_notebook(root / "studies" / "sizes" / "run.ipynb", "print(1)")
    write_notebook(root / "notebooks" / ".ipynb_checkpoints" / "01_good.ipynb", "print(0)")
    (root / "notebooks" / "notes.txt").write_text("not a lesson")
    monkeypatch.setattr(lessons, "origin", lambda: root)
    return root


def get(folder: Path, **how) -> dict[str, str]:
    return lessons.copy(folder, numbered(lessons.origin()), **how)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD
    }


def test_everything_is_copied_byte_by_byte_and_nothing_else(origin, tmp_path):
    outcomes = get(tmp_path / "a" / "b")
    expected = files(origin)
    del expected["notebooks/.ipynb_checkpoints/01_good.ipynb"], expected["notebooks/notes.txt"]
    assert files(tmp_path / "a" / "b") == expected and len(expected) == 6
    assert outcomes == dict.fromkeys(expected, lessons.NEW)
    assert get(tmp_path / "a" / "b") == dict.fromkeys(expected, lessons.SAME)


def test_a_changed_file_is_kept_and_an_untouched_one_follows_the_package(origin, tmp_path):
    folder = tmp_path / "mine"
    get(folder)
    good, more = "notebooks/01_good.ipynb", "notebooks/02_more.ipynb"
    (folder / good).write_text("my own")
    (folder / "studies/sizes/run.ipynb").unlink()
    write_notebook(origin / good, "print(2)")
    write_notebook(origin / more, "print(2)")
    outcomes = get(folder)
    assert (folder / good).read_text() == "my own" and outcomes[good] == lessons.KEPT
    assert (folder / more).read_bytes() == (origin / more).read_bytes()
    assert outcomes[more] == lessons.REPLACED
    assert outcomes["studies/sizes/run.ipynb"] == lessons.NEW
    write_notebook(origin / good, "print(3)")
    assert get(folder)[good] == lessons.KEPT, "and is so the next time"
    assert get(folder, force=True)[good] == lessons.REPLACED
    assert (folder / good).read_bytes() == (origin / good).read_bytes()


@pytest.mark.parametrize("record", ["", "[]", "[" * 100_000, "\udcff", None])
def test_without_a_readable_record_whatever_differs_is_kept(origin, tmp_path, record):
    folder = tmp_path / "mine"
    get(folder)
    if record is None:
        (folder / RECORD).unlink()
    else:
        (folder / RECORD).write_text(record, errors="surrogateescape")
    write_notebook(origin / "notebooks" / "02_more.ipynb", "print(2)")
    assert get(folder)["notebooks/02_more.ipynb"] == lessons.KEPT
    assert len(json.loads((folder / RECORD).read_text())) == 6


def test_a_lesson_comes_with_what_belongs_to_it_or_to_none(origin, tmp_path):
    place, chosen = lessons.read_arguments(str(tmp_path / "mine"), ["good", "1"])
    lessons.copy(place, chosen)
    assert set(files(place)) == {
        "notebooks/01_good.ipynb",
        "notebooks/solutions/01_good.ipynb",
        "notebooks/profiles/full/01_good_long.yaml",
        "studies/sizes/grid.yaml",
        "studies/sizes/run.ipynb",
    }


@pytest.mark.parametrize(
    "words, folder, stems",
    [
        ([None], lessons.FOLDER, ["01_good", "02_more"]),
        (["mine"], "mine", ["01_good", "02_more"]),
        (["mine", "02", "good"], "mine", ["01_good", "02_more"]),
        (["2"], lessons.FOLDER, ["02_more"]),
        (["more", "01_good"], lessons.FOLDER, ["01_good", "02_more"]),
        (["./2"], "2", ["01_good", "02_more"]),
    ],
)
def test_the_first_word_is_a_folder_unless_it_means_a_lesson(
    origin, tmp_path, monkeypatch, words, folder, stems
):
    monkeypatch.chdir(tmp_path)
    place, chosen = lessons.read_arguments(words[0], words[1:])
    assert place == Path(folder) and [item.path.stem for item in chosen] == stems


def test_inside_a_folder_of_lessons_that_folder_is_meant(origin, tmp_path, monkeypatch):
    get(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert lessons.read_arguments(None, [])[0] == Path()


@pytest.mark.parametrize("words", [["mine", "03"], ["99"], ["mine", ""], ["mine", "../x"], [""]])
def test_another_lesson_is_refused(origin, words):
    with pytest.raises(UsageError, match=f"{words[-1]!r}"):
        lessons.read_arguments(words[0], words[1:])


def test_a_folder_that_cannot_be_written_is_refused_and_named(origin, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    (tmp_path / "odd" / "notebooks" / "01_good.ipynb").mkdir(parents=True)
    broken = tmp_path / "broken"
    broken.symlink_to(tmp_path / "nowhere" / "x")
    for folder, reason in (
        (file, "is a file"),
        (file / "x", "written"),
        (tmp_path / "odd", "01_"),
        (broken, "written"),
    ):
        with pytest.raises(UsageError, match=reason) as refusal:
            get(folder)
        assert str(folder) in str(refusal.value)
    assert file.read_text() == "mine"
    with pytest.raises(UsageError, match="name another folder"):
        get(origin)
    assert not (origin / RECORD).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_folder_that_is_gone_is_refused(origin, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="cannot be written into mine"):
        get(Path("mine"))


def test_an_installation_without_lessons_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "origin", lambda: tmp_path)
    with pytest.raises(UsageError, match="no lessons in"):
        lessons.read_arguments(None, [])


def test_the_summary_says_what_was_kept_and_what_to_type(origin, tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "find_spec", lambda name: name != "jupyterlab")
    outcomes = {"notebooks/02_more.ipynb": lessons.KEPT, "b": lessons.NEW, "c": lessons.NEW}
    text = lessons.summary(Path("my lessons"), numbered(origin)[1:], outcomes)
    assert "(files: 2 new, 1 kept" in text and "\n    notebooks/02_more.ipynb\n" in text
    for step in ("pip install 'aelib[run]'", 'jupyter lab "my lessons"', 'cd "my', "aelib run 02"):
        assert f"\n    {step}" in text
    monkeypatch.setattr(lessons, "find_spec", lambda name: True)
    text = lessons.summary(Path("mine"), numbered(origin), {"b": lessons.NEW})
    assert "--force" not in text and "pip install" not in text


def test_the_command_copies_the_collection_whose_lessons_it_then_lists(tmp_path):
    status, output = aelib("get", cwd=tmp_path)
    assert status == 0 and "cd aelib-lessons" in output
    status, output = aelib("list", cwd=tmp_path / lessons.FOLDER / "studies")
    assert status == 0 and output.count("?\n") == len(numbered(ROOT)) == 14
    status, output = aelib("get", "x", "nosuch", cwd=tmp_path)
    assert status == 2 and "There is no notebook 'nosuch'" in output and "09_variational" in output
    assert not (tmp_path / "x").exists()

"""The real faces: an archive that is checked, decoded and rid of its duplicates in memory."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

import aelib.data as data
from aelib.data import _remote, _smiles, _store

TOP = "SMILEsmileD-abc/"
NEGATIVES, POSITIVES = "SMILEs/negatives/negatives7/", "SMILEs/positives/positives7/"


def jpeg(seed: int, side: int = 64) -> bytes:
    """A smooth picture, no two alike."""
    waves = np.random.default_rng(seed).uniform(-0.2, 0.2, 2) * np.arange(side)[:, None]
    pixels = np.rint(127 + 100 * np.sin(waves[:, :1] + waves[:, 1:].T)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def pack(pictures: dict[str, bytes], *, top: str = TOP) -> bytes:
    """In the form of the real archive: a folder at the top, other files beside the pictures."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(top, b"")
        archive.writestr(f"{top}README", b"read me")
        archive.writestr(f"{top}SMILEs/negatives/list.idx", b"1.jpg")
        for name, content in pictures.items():
            archive.writestr(top + name, content)
    return file.getvalue()


@pytest.fixture
def pictures() -> dict[str, bytes]:
    """30 not smiling and 20 smiling, in no order, then the duplicates of the real archive."""
    made = {f"{NEGATIVES}{index}.jpg": jpeg(index) for index in range(30)}
    made |= {f"{POSITIVES}{index}.jpg": jpeg(100 + index) for index in range(20)}
    made[f"{POSITIVES}7.jpg"] = made[f"{NEGATIVES}7.jpg"]  # both labels
    made[f"{NEGATIVES}twin.jpg"] = made[f"{NEGATIVES}9.jpg"]  # one label
    return dict(sorted(made.items(), key=lambda item: hashlib.md5(item[0].encode()).digest()))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An empty data folder, no network, and three test images."""
    monkeypatch.delenv(_store.DATA_VARIABLE, raising=False)
    monkeypatch.setattr(_store, "cache_folder", lambda: tmp_path / "own")
    monkeypatch.setattr(_remote, "_transfer", self_made_error)
    monkeypatch.setattr(_smiles, "TEST", 10)
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def self_made_error(*_):
    raise OSError("there is no network")


@pytest.fixture
def place(own, pictures, monkeypatch):
    """Puts an archive into the folder and makes its manifest, or another one, the right one."""

    def place(archive: bytes | None = None, manifest: dict[str, bytes] | None = None):
        monkeypatch.setattr(_smiles, "_MANIFEST", by_hand(manifest or pictures))
        (own / "SMILEsmileD.zip").write_bytes(archive or pack(pictures))

    return place


def by_hand(pictures: dict[str, bytes]) -> str:
    """The manifest as data/README.md defines it, in one line."""
    return hashlib.sha256(
        b"".join(
            name.encode() + bytes(1) + hashlib.sha256(pictures[name]).digest()
            for name in sorted(pictures)
        )
    ).hexdigest()


def decoded(content: bytes) -> bytes:
    return np.asarray(Image.open(io.BytesIO(content))).tobytes()


def all_of(dataset) -> dict[bytes, int]:
    splits = (dataset.train, dataset.valid, dataset.test)
    return {
        np.rint(255 * image).astype(np.uint8).tobytes(): int(label)
        for split in splits
        for image, label in zip(split.x, split.y, strict=True)
    }


class TestArchive:
    def test_every_picture_once_with_the_label_of_its_folder(self, place, pictures):
        place()
        smiles = data.load("smiles", validation=8)
        assert smiles.image_shape == (64, 64, 1)
        assert [len(s.x) for s in (smiles.train, smiles.valid, smiles.test)] == [30, 8, 10]
        assert all(set(s.y) == {0, 1} for s in (smiles.train, smiles.valid, smiles.test))
        expected = {
            decoded(content): int(name.startswith(POSITIVES)) for name, content in pictures.items()
        }
        del expected[decoded(pictures[f"{NEGATIVES}7.jpg"])]
        assert all_of(smiles) == expected and len(expected) == 48  # no image in two splits

    def test_of_duplicates_one_stays_and_none_if_they_contradict(self, pictures):
        kept = _smiles._without_duplicates(pictures)
        assert f"{NEGATIVES}7.jpg" not in kept and f"{POSITIVES}7.jpg" not in kept
        assert len({f"{NEGATIVES}9.jpg", f"{NEGATIVES}twin.jpg"} & set(kept)) == 1
        assert len(kept) == len(pictures) - 3

    def test_the_splits_depend_on_names_alone(self, place, pictures):
        place()
        first = data.load("smiles", validation=8)
        place(pack(dict(reversed(pictures.items())), top="another-top/"))  # packed again
        second = data.load("smiles", validation=8)
        for part in ("train", "valid", "test"):
            one, two = getattr(first, part), getattr(second, part)
            assert one.x.tobytes() == two.x.tobytes() and one.y.tobytes() == two.y.tobytes()

    def test_a_smaller_size_and_fewer(self, place):
        place()
        few = data.load("smiles", validation=8, size=32, limit=5)
        assert few.train.x.shape == (5, 32, 32, 1) and few.test.x.shape == (5, 32, 32, 1)


class TestManifest:
    @pytest.mark.parametrize("change", ["flipped", "missing", "renamed", "more", "other label"])
    def test_another_content_is_refused(self, place, pictures, change):
        changed = dict(pictures)
        name = f"{NEGATIVES}3.jpg"
        content = changed.pop(name)
        if change == "flipped":
            changed[name] = content[:-30] + bytes([content[-30] ^ 1]) + content[-29:]
        elif change == "renamed":
            changed[f"{NEGATIVES}333.jpg"] = content
        elif change == "more":
            changed |= {name: content, f"{NEGATIVES}more.jpg": jpeg(1000)}
        elif change == "other label":
            changed[name.replace("negatives", "positives")] = content
        place(pack(changed), manifest=pictures)
        with pytest.raises(data.DatasetUnavailable, match="missing or damaged"):
            data.load("smiles", validation=8)
        with pytest.raises(data.CorruptFile, match="another manifest"):
            _smiles._check(_store.cache_folder() / "SMILEsmileD.zip")

    @pytest.mark.parametrize("damage", ["cut", "empty", "garbage"])
    def test_a_damaged_archive_in_the_given_folder_is_an_error_that_names_it(
        self, place, pictures, tmp_path, monkeypatch, damage
    ):
        whole = pack(pictures)
        place()
        path = tmp_path / "given" / "SMILEsmileD.zip"
        path.parent.mkdir()
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "garbage": b"?"}[damage])
        monkeypatch.setenv(_store.DATA_VARIABLE, str(path.parent))
        with pytest.raises(data.CorruptFile) as caught:
            data.load("smiles")
        assert str(caught.value).endswith(f"Received: file={path}")

    @pytest.mark.parametrize("name", ["../../escaped.jpg", "SMILEs/negatives/../../../a.jpg"])
    def test_no_name_in_the_archive_becomes_a_path(self, place, pictures, tmp_path, name):
        place(pack(pictures | {name: jpeg(5)}))
        data.load("smiles", validation=8)  # not one of the pictures, so it is not even read
        assert [path.name for path in tmp_path.rglob("*")] == ["own", "SMILEsmileD.zip"]

    def test_a_parent_folder_in_a_name_is_refused(self, place, pictures):
        place(pack(pictures | {"SMILEs/negatives/../odd.jpg": jpeg(5)}))
        with pytest.raises(data.CorruptFile, match="a name that cannot be"):
            _smiles._check(_store.cache_folder() / "SMILEsmileD.zip")

    def test_an_archive_that_unpacks_to_too_much_is_not_unpacked(self, place, pictures, own):
        bomb = {f"{NEGATIVES}bomb{i}.jpg": bytes(_smiles._UNPACKED // 2) for i in range(3)}
        place(pack(pictures | bomb))
        assert (own / "SMILEsmileD.zip").stat().st_size < 1_000_000
        with pytest.raises(data.CorruptFile, match="too large"):
            _smiles._check(own / "SMILEsmileD.zip")

    def test_a_picture_of_another_size_is_refused(self, place, pictures, tmp_path, monkeypatch):
        pictures[f"{NEGATIVES}3.jpg"] = jpeg(3, side=32)
        place()
        monkeypatch.setenv(_store.DATA_VARIABLE, str(tmp_path / "own"))
        with pytest.raises(data.CorruptFile, match="32"):
            data.load("smiles")


class TestWhere:
    def test_without_it_the_faces_stand_in(self, own, monkeypatch, capsys):
        with pytest.raises(data.DatasetUnavailable) as caught:
            data.load("smiles")
        for way in (_store.DATA_VARIABLE, "aelib data fetch smiles", "data.load('faces')"):
            assert way in str(caught.value)
        images = data.load_or_embedded("smiles", limit=3, size=16)
        assert images.name == "faces" and len(images.train.x) == 3
        assert "using the embedded faces instead" in capsys.readouterr().out

    def test_it_is_downloaded_from_the_commit_and_kept(self, place, own, pictures, monkeypatch):
        asked = []

        def transfer(url, path, *_):
            asked.append(url)
            path.write_bytes(pack(pictures, top="SMILEsmileD-6afac66/"))

        place()
        (own / "SMILEsmileD.zip").unlink()
        monkeypatch.undo()
        monkeypatch.delenv(_store.DATA_VARIABLE, raising=False)
        monkeypatch.setattr(_store, "cache_folder", lambda: own)
        monkeypatch.setattr(_smiles, "TEST", 10)
        monkeypatch.setattr(_smiles, "_MANIFEST", by_hand(pictures))
        monkeypatch.setattr(_remote, "_transfer", transfer)
        assert data.fetch("smiles") == str(own / "SMILEsmileD.zip")
        assert len(data.load("smiles", validation=8).train.x) == 30
        assert asked == [
            "https://github.com/hromi/SMILEsmileD/archive/"
            "6afac66f50061948eed7da5a351cecd9c4a99fe3.zip"
        ]


def test_the_real_archive():
    if _smiles.SMILES.find() is None:
        pytest.skip("SMILEsmileD.zip is not on this machine: set AELIB_DATA_DIR")
    smiles = data.load("smiles")
    assert str(smiles) == "smiles: 9,153 train, 2,000 valid, 2,000 test images of 64 x 64 x 1"
    labels = np.concatenate([smiles.train.y, smiles.valid.y, smiles.test.y])
    # 9,475 and 3,690 files; 5 go from each, and 2 more of those who do not smile.
    assert [(labels == label).sum() for label in (0, 1)] == [9_468, 3_685]
    assert len(all_of(smiles)) == 13_153
    for split in (smiles.train, smiles.valid, smiles.test):
        assert split.x.dtype == np.float32 and 0 <= split.x.min() < 0.02 and split.x.max() > 0.98
        assert 0.26 < split.y.mean() < 0.30  # the same mixture in all three
        # Smiling mouths show teeth: the labels are not swapped.
        teeth = split.x[:, 48:54, 26:38].mean((1, 2, 3)) - split.x.mean((1, 2, 3))
        assert teeth[split.y == 1].mean() > teeth[split.y == 0].mean() + 0.05

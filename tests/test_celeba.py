"""CelebA in a small directory of its form, made here: attributes, parts, crop, and bad lists."""

import os

import numpy as np
import pytest
from PIL import Image

import aelib.data as data
from aelib.data import _celeba, _store

# The published names, in the published order.
NAMES = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose "
    "Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee "
    "Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard "
    "Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair "
    "Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young"
).split()
COUNT = 30
PARTS = [0] * 18 + [1] * 5 + [2] * 7
VALUES = np.random.default_rng(0).integers(0, 2, (COUNT, 40))


def picture(index: int) -> np.ndarray:
    """Gray level, red and green tell which one it is; outside the crop it is white."""
    pixels = np.full((218, 178, 3), 255, np.uint8)
    pixels[39:179, 19:159] = (8 * index, 255 - 8 * index, 40)
    return pixels


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "given" / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    for index in range(COUNT):
        Image.fromarray(picture(index)).save(
            folder / "img_align_celeba" / file_name(index), quality=95
        )
    rows = [" ".join([file_name(i), *(f"{2 * v - 1:2d}" for v in VALUES[i])]) for i in range(COUNT)]
    attributes = "\n".join([str(COUNT), " ".join(NAMES) + " ", *rows]) + "\n"
    (folder / "list_attr_celeba.txt").write_text(attributes)
    partition = "".join(f"{file_name(i)} {part}\n" for i, part in enumerate(PARTS))
    (folder / "list_eval_partition.txt").write_text(partition)
    monkeypatch.setenv(_store.DATA_VARIABLE, str(folder.parent))
    monkeypatch.setattr(_store, "cache_folder", lambda: tmp_path / "own")
    return folder


def file_name(index: int) -> str:
    return f"{index + 1:06d}.jpg"


def which(x: np.ndarray) -> list[int]:
    """The pictures, read back from their colour."""
    return np.rint(255 * x[:, 5:-5, 5:-5, 0].mean((1, 2)) / 8).astype(int).tolist()


def test_the_published_parts_and_all_attributes_by_name(folder):
    celeba = data.load("celeba")
    assert str(celeba) == "celeba: 18 train, 5 valid, 7 test images of 64 x 64 x 3"
    begin = 0
    for split in (celeba.train, celeba.valid, celeba.test):
        rows = np.arange(begin, begin + len(split.x))
        assert which(split.x) == rows.tolist()
        assert split.x.dtype == np.float32 and split.y.dtype == np.int64
        assert list(split.factors) == NAMES
        for column, name in enumerate(NAMES):
            np.testing.assert_array_equal(split.factors[name], VALUES[rows, column])
        np.testing.assert_array_equal(split.y, VALUES[rows, NAMES.index("Smiling")])
        begin += len(rows)


def test_the_crop_is_the_square_in_the_middle(folder):
    pixels = np.random.default_rng(1).integers(0, 256, (218, 178, 3), np.uint8)
    path = folder / "img_align_celeba" / file_name(3)
    Image.fromarray(pixels).save(path, "PNG")  # without loss, and at 140 nothing is scaled
    x = data.load("celeba", size=140, limit=4).train.x[3]
    np.testing.assert_array_equal(np.rint(255 * x), pixels[39:179, 19:159])


def test_only_what_is_asked_for_is_read(folder):
    for index in [*range(3, 18), *range(21, 23), *range(26, 30)]:
        (folder / "img_align_celeba" / file_name(index)).unlink()
    celeba = data.load("celeba", limit=3, size=32)
    assert celeba.train.x.shape == (3, 32, 32, 3)
    assert [which(s.x) for s in (celeba.train, celeba.valid, celeba.test)] == [
        [0, 1, 2],
        [18, 19, 20],
        [23, 24, 25],
    ]
    assert all(len(values) == 3 for values in celeba.train.factors.values())
    with pytest.raises(data.CorruptFile, match="000004.jpg"):
        data.load("celeba")


def test_validation_can_be_chosen(folder):
    celeba = data.load("celeba", validation=10)
    assert which(celeba.valid.x) == list(range(13, 23)) and len(celeba.train.x) == 13


def test_without_the_list_of_parts_the_last_two_tenths(folder):
    (folder / "list_eval_partition.txt").unlink()
    celeba = data.load("celeba")
    assert [which(s.x)[0] for s in (celeba.train, celeba.valid, celeba.test)] == [0, 24, 27]


def test_parts_in_any_order(folder):
    parts = np.array(PARTS[::-1])
    lines = [f"{file_name(i)} {part}\n" for i, part in enumerate(parts)]
    (folder / "list_eval_partition.txt").write_text("".join(reversed(lines)))
    celeba = data.load("celeba")
    assert which(celeba.test.x) == list(range(7))
    assert which(celeba.valid.x) == list(range(7, 12))
    np.testing.assert_array_equal(celeba.test.factors["Bald"], VALUES[:7, NAMES.index("Bald")])


class TestWhere:
    def test_in_the_data_folder_itself_or_by_its_path(self, folder, monkeypatch):
        monkeypatch.setenv(_store.DATA_VARIABLE, str(folder))
        assert len(data.load("celeba").train.x) == 18
        monkeypatch.delenv(_store.DATA_VARIABLE)
        assert len(data.load(str(folder)).train.x) == 18
        with pytest.raises(data.DatasetUnavailable):
            data.load("celeba")

    def test_status_and_fetch(self, folder, monkeypatch):
        (celeba,) = [item for item in data.status() if item.name == "celeba"]
        assert (celeba.kind, celeba.path) == ("directory", str(folder))
        with pytest.raises(ValueError, match="cannot be downloaded.*Received: name='celeba'"):
            data.fetch("celeba")
        monkeypatch.delenv(_store.DATA_VARIABLE)
        (celeba,) = [item for item in data.status() if item.name == "celeba"]
        assert celeba.path is None and "not here" in celeba.note

    def test_without_it_the_faces_stand_in(self, folder, monkeypatch, capsys):
        monkeypatch.delenv(_store.DATA_VARIABLE)
        with pytest.raises(data.DatasetUnavailable, match=r"AELIB_DATA_DIR.*data.load\('faces'\)"):
            data.load("celeba")
        images = data.load_or_embedded("celeba", limit=2, size=16)
        assert images.name == "faces" and images.image_shape == (16, 16, 1)
        assert "using the embedded faces instead" in capsys.readouterr().out


class TestBadLists:
    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (f"{COUNT}\n", f"{COUNT + 1}\n"),  # more announced than there are
            ("Smiling", "Laughing"),
            ("Bald", "Bangs"),  # a name twice
            ("000002.jpg", "../../000002.jpg"),  # leads out of the folder
            ("000002.jpg", "/000002.jpg"),
            ("000002.jpg", "000003.jpg"),  # a file twice
            ("000002.jpg -1", "000002.jpg  0"),
            ("000002.jpg -1", "000002.jpg"),  # one value too few
            ("000002.jpg -1", "000002.jpg  x"),
            ("000002.jpg -1", f"000002.jpg {10**30}"),
        ],
    )
    def test_attributes(self, folder, old, new):
        path = folder / "list_attr_celeba.txt"
        text = path.read_text()
        if "-1" in old and old not in text:
            old = old.replace("-1", " 1")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        with pytest.raises(data.CorruptFile) as caught:
            data.load("celeba")
        assert str(caught.value).endswith(f"Received: file={path}")

    @pytest.mark.parametrize(
        "old,new",
        [
            ("000002.jpg 0", "000002.jpg 3"),
            ("000002.jpg 0\n", ""),
            ("000002.jpg 0", f"000002.jpg {10**30}"),
        ],
    )
    def test_parts(self, folder, old, new):
        path = folder / "list_eval_partition.txt"
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(data.CorruptFile, match="list_eval_partition.txt"):
            data.load("celeba")

    def test_an_image_of_another_size_or_none(self, folder):
        path = folder / "img_align_celeba" / file_name(4)
        Image.fromarray(picture(4)[:178]).save(path)
        with pytest.raises(data.CorruptFile, match="178 x 178"):
            data.load("celeba")
        path.write_bytes(b"not an image")
        with pytest.raises(data.CorruptFile, match=file_name(4)):
            data.load("celeba")
        path.unlink()
        os.mkfifo(path)  # reading it would wait for ever
        with pytest.raises(data.CorruptFile, match=file_name(4)):
            data.load("celeba")

    def test_an_image_with_more_pixels_than_pillow_opens(self, folder, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(data.CorruptFile, match=file_name(0)):
            data.load("celeba")


def test_the_label_is_one_of_the_published_names():
    assert _celeba.LABEL in NAMES and len(NAMES) == 40

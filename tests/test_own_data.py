"""A user's own data: a folder of images as people have it, an `.npz` of images or of a table."""

import io
import os
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

import aelib.data as data

PARTS = ("train", "valid", "test")
rng = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    """An empty folder."""
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def write(path, pixels=None, *, size=(6, 8), **options):
    """Writes one image, noise where no pixels are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def numbered(folder, count, *, start=0):
    """Writes images of which each has its number as its pixels."""
    for index in range(start, start + count):
        write(folder / f"{index:03}.png", np.full((2, 3), index, np.uint8))


def numbers(split):
    return np.rint(255 * split.x[:, 0, 0, 0]).astype(int)


def every(images):
    return np.concatenate([numbers(getattr(images, part)) for part in PARTS])


class TestClasses:
    def test_subfolders_are_classes_and_their_sorted_positions_labels(self, folder):
        for start, name in ((0, "b"), (60, "a"), (90, "C")):  # "C" sorts before "a", as in Keras
            numbered(folder / name, 30 if start else 60, start=start)
        images = data.load(folder)
        assert images.name == str(folder) and images.class_names == ("C", "a", "b")
        for part in PARTS:
            split = getattr(images, part)
            assert split.x.dtype == np.float32 and split.y.dtype == np.int64
            n = numbers(split)
            np.testing.assert_array_equal(split.y, np.where(n < 60, 2, np.where(n < 90, 1, 0)))
        assert sorted(every(images)) == list(range(120))
        assert str(images).endswith("97 train, 11 valid, 12 test images of 2 x 3 x 1")

    def test_the_labels_are_those_of_keras(self, folder):
        from keras.utils import image_dataset_from_directory

        for start, name in enumerate(("zebra", "Ape", "10", "9", "empty", "é", "a b")):
            (folder / name).mkdir()
            if name != "empty":
                numbered(folder / name / "deeper", 10, start=10 * start)
        theirs = image_dataset_from_directory(
            folder, image_size=(2, 3), color_mode="grayscale", batch_size=None, verbose=False
        )
        label = {int(x[0, 0, 0]): int(y) for x, y in theirs.as_numpy_iterator()}
        images = data.load(folder)
        assert list(images.class_names) == theirs.class_names
        for part in PARTS:
            split = getattr(images, part)
            assert [label[n] for n in numbers(split)] == split.y.tolist()

    def test_a_flat_folder_is_unlabelled(self, folder):
        numbered(folder, 20)
        images = data.load(folder, validation=4)
        assert [len(getattr(images, part).x) for part in PARTS] == [14, 4, 2]
        assert all(set(getattr(images, part).y) == {-1} for part in PARTS)
        assert images.class_names == ()

    def test_every_part_has_its_share_of_every_class(self, folder):
        counts = {"many": 100, "some": 50, "few": 11, "one": 1}
        start = 0
        for name, count in counts.items():
            numbered(folder / name, count, start=start)
            start += count
        images = data.load(folder, validation=0.25)
        total = sum(counts.values())
        for part in PARTS:
            y = getattr(images, part).y
            for label, name in enumerate(images.class_names):
                assert abs((y == label).sum() - counts[name] * len(y) / total) < 2
        y = data.load(folder, limit=40).train.y
        assert abs((y == images.class_names.index("many")).sum() - 40 * 100 / total) < 2

    def test_classes_of_five_do_not_all_miss_the_same_part(self, folder):
        for index in range(40):
            numbered(folder / f"{index:02}", 5, start=5 * index)
        y = data.load(folder).test.y
        assert len(y) == 20 and 5 < np.median(y) < 34  # neither the first classes nor the last

    def test_the_order_depends_on_names_alone(self, folder, tmp_path, monkeypatch):
        for start, name in ((0, "a"), (20, "b")):
            numbered(folder / name, 20, start=start)
        first = data.load(folder)
        other = tmp_path / "elsewhere"
        listed = os.listdir
        monkeypatch.setattr(os, "listdir", lambda path: sorted(listed(path), reverse=True))
        shutil.copytree(folder, other)
        monkeypatch.chdir(tmp_path)
        second = data.load("elsewhere")
        np.testing.assert_array_equal(every(first), every(second))
        # which is none of the names' own, and the same on every machine
        assert every(first).tolist() != sorted(every(first))
        assert numbers(first.test).tolist() == [27, 12, 23, 8]

    def test_limit_decodes_no_others(self, folder):
        numbered(folder / "a", 30)
        whole = data.load(folder)
        used = {n for part in PARTS for n in numbers(getattr(whole, part))[:2]}
        for path in (folder / "a").iterdir():
            if int(path.stem) not in used:
                path.write_bytes(path.read_bytes()[:45])  # what tells its form and size stays whole
        few = data.load(folder, limit=2)
        np.testing.assert_array_equal(numbers(few.train), numbers(whole.train)[:2])
        with pytest.raises(data.CorruptFile, match="cannot be read"):
            data.load(folder)


class TestGivenParts:
    @pytest.mark.parametrize("valid", ["valid", "val", "Validation"])
    def test_train_valid_and_test(self, folder, valid):
        for start, part in ((0, "train"), (30, valid), (50, "test")):
            numbered(folder / part / "cat", 5, start=start)
            numbered(folder / part / "dog", 5, start=start + 5)
        images = data.load(folder)
        assert images.class_names == ("cat", "dog")
        for part, start in zip(PARTS, (0, 30, 50), strict=True):
            split = getattr(images, part)
            assert sorted(numbers(split)) == list(range(start, start + 10))
            np.testing.assert_array_equal(split.y, numbers(split) - start >= 5)

    def test_a_class_that_one_part_lacks_keeps_its_label(self, folder):
        for part, names in (("train", "abc"), ("test", "c")):
            for name in names:
                numbered(folder / part / name, 10)
        images = data.load(folder)
        assert set(images.test.y) == {2} and len(images.valid.x) == 3

    def test_without_test_a_tenth_and_a_flat_test_is_unlabelled(self, folder):
        numbered(folder / "training" / "a", 20)
        numbered(folder / "training" / "b", 20, start=20)
        assert len(data.load(folder).test.x) == 4
        numbered(folder / "Testing", 7, start=40)
        images = data.load(folder)
        assert len(images.train.x) + len(images.valid.x) == 40
        assert sorted(numbers(images.test)) == list(range(40, 47)) and set(images.test.y) == {-1}

    def test_other_folders_beside_train_are_classes(self, folder):
        for start, name in enumerate(("train", "bus")):
            numbered(folder / name, 10, start=10 * start)
        assert data.load(folder).class_names == ("bus", "train")

    def test_only_a_test_folder(self, folder):
        numbered(folder / "test", 3)
        numbered(folder / "val", 3)
        assert data.load(folder).class_names == ("test", "val")  # then these are classes
        (folder / "train").mkdir()
        with pytest.raises(ValueError, match="no images to train with. Received: name="):
            data.load(folder)


class TestPixels:
    @pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "webp", "gif", "ppm", "jpg", "TGA"])
    def test_formats(self, folder, ending):
        pixels = np.zeros((16, 24, 3), np.uint8)
        pixels[4:8, :, 0] = 255
        options = {"lossless": True} if ending == "webp" else {}
        for index in range(4):
            write(folder / f"{index}.{ending}", pixels, **options)
        x = data.load(folder).train.x
        assert x.shape[1:] == (16, 24, 3)
        tolerance = 0.2 if ending == "jpg" else 1e-6
        np.testing.assert_allclose(x, np.broadcast_to(pixels / 255, x.shape), atol=tolerance)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "F"])
    def test_grey_if_all_are_stored_in_grey(self, folder, mode):
        grey = np.repeat(np.arange(8, dtype=np.uint8) * 36, 6).reshape(8, 6)
        if mode == "1":
            grey = np.where(grey > 100, 255, 0).astype(np.uint8)
        image = Image.fromarray(grey)
        if mode == "I;16":
            image = Image.fromarray(grey.astype(np.uint16) * 257)
        elif mode == "F":
            image = Image.fromarray(grey / np.float32(255))
        elif mode == "P":
            image.putpalette(list(np.repeat(np.arange(256), 3)))
        else:
            image = image.convert(mode)
        assert image.mode == mode
        for index in range(3):
            write(folder / f"{index}.tif", image)
        x = data.load(folder).train.x
        assert x.shape[1:] == (8, 6, 1)
        np.testing.assert_allclose(x, np.broadcast_to(grey[..., None] / 255, x.shape), atol=1e-5)
        write(folder / "colour.png", size=(8, 6))  # one in colour, and all are
        x = data.load(folder, validation=0).train.x
        assert x.shape[1:] == (8, 6, 3)
        expected = np.repeat(grey[..., None] / 255, 3, -1)
        assert sum(np.allclose(image, expected, atol=1e-5) for image in x) >= 2

    def test_a_palette_of_colours_is_colour(self, folder):
        red = Image.fromarray(np.full((4, 4, 3), (255, 0, 0), np.uint8))
        for index in range(3):
            write(folder / f"{index}.png", red.convert("P", palette=Image.Palette.ADAPTIVE))
        np.testing.assert_array_equal(data.load(folder).train.x[0, 0, 0], [1, 0, 0])

    @pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "tRNS"])
    def test_what_is_transparent_is_seen_on_white(self, folder, kind):
        pixels = np.zeros((4, 4, 4), np.uint8)
        pixels[:2, :, 3] = 255  # black above, transparent black below
        image, options = Image.fromarray(pixels), {}
        if kind == "LA":
            image = image.convert("LA")
        elif kind != "RGBA":
            image = Image.fromarray(np.where(pixels[..., 3] > 0, 1, 0).astype(np.uint8))
            options = {"transparency": 0}
            if kind == "palette":
                image.putpalette([0, 0, 0, 0, 0, 0])
        for index in range(3):
            write(folder / f"{index}.png", image, **options)
        x = data.load(folder).train.x
        assert x[:, :2].max() < 0.01 and x[:, 2:].min() == 1
        half = pixels.copy()
        half[..., 3] = 128
        write(folder / "half.png", half)
        x = data.load(folder, validation=0.0).train.x
        assert any(abs(image - 127 / 255).max() < 0.01 for image in x)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("size", [None, (8, 12), (12, 8)])
    def test_a_photograph_stands_upright(self, folder, orientation, size):
        from PIL import ImageOps

        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = rng.integers(0, 256, (8, 12, 3), np.uint8)
        for index in range(3):
            write(folder / f"{index}.png", stored, exif=exif)
        x = data.load(folder, size=size).train.x[0]
        with Image.open(folder / "0.png") as image:
            upright = np.asarray(ImageOps.exif_transpose(image)) / 255
        assert upright.shape[:2] == ((8, 12) if orientation < 5 else (12, 8))
        if size in (None, upright.shape[:2]):
            np.testing.assert_allclose(x, upright, atol=1e-6)
        assert x.shape[:2] == (size or upright.shape[:2])

    def test_of_an_animation_the_first_picture(self, folder):
        frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (0, 255)]
        for index in range(3):
            write(folder / f"{index}.gif", frames[0], save_all=True, append_images=frames[1:])
        assert data.load(folder).train.x.max() == 0

    def test_pixels_that_are_no_shares_are_refused(self, folder):
        write(folder / "good.tif", Image.fromarray(np.ones((4, 4), np.float32)))
        for value in (1.5, -0.1, np.nan, np.inf):
            write(folder / "bad.tif", Image.fromarray(np.full((4, 4), value, np.float32)))
            with pytest.raises(data.CorruptFile, match=r"\[0, 1\].*Received: file=.*bad.tif"):
                data.load(folder)


class TestSize:
    @pytest.mark.parametrize(("size", "shape"), [(9, (9, 9)), ((5, 7), (5, 7)), ([3, 30], (3, 30))])
    def test_an_integer_or_height_and_width(self, folder, size, shape):
        for index, stored in enumerate([(6, 8), (20, 4), (64, 64)]):
            write(folder / f"{index}.png", np.full((*stored, 3), 77, np.uint8))
        x = data.load(folder, size=size).train.x
        assert x.shape[1:] == (*shape, 3)
        np.testing.assert_allclose(x, 77 / 255, rtol=1e-6)

    @pytest.mark.parametrize("name", ["digits", "faces"])
    def test_of_other_datasets_too(self, name):
        assert data.load(name, size=(10, 14), limit=2).image_shape == (10, 14, 1)

    @pytest.mark.parametrize(
        "bad", [(3,), (3, 4, 1), (0, 3), (3, -1), (3.0, 4), "33", (True, 2), ()]
    )
    def test_what_is_neither(self, folder, bad):
        write(folder / "a.png")
        for name in (folder, "digits"):
            with pytest.raises(ValueError, match="`size.*Received: size"):
                data.load(name, size=bad)

    @pytest.mark.parametrize("ending", ["png", "jpg"])
    def test_shrinking_averages_rather_than_drops(self, folder, ending):
        stripes = np.zeros((512, 512), np.uint8)
        stripes[:, ::2] = 255
        for index in range(3):
            write(folder / f"{index}.{ending}", stripes)
        x = data.load(folder, size=16).train.x
        np.testing.assert_allclose(x[:, 1:-1, 1:-1], 0.5, atol=0.02)

    def test_a_large_jpeg_shrinks_to_what_the_whole_one_does(self, folder):
        waves = np.sin(np.arange(600)[:, None] / 4) * np.cos(np.arange(900) / 5) * 100 + 128
        for index in range(3):
            write(folder / f"{index}.jpg", waves.astype(np.uint8), quality=95)
        with Image.open(folder / "0.jpg") as image:
            whole = np.asarray(image.resize((150, 100), Image.Resampling.BILINEAR)) / 255
        x = data.load(folder, size=(100, 150)).train.x[0, ..., 0]
        assert abs(x - whole).max() < 0.06 and whole.std() > 0.1

    def test_different_sizes_without_one_name_two_and_the_cure(self, folder):
        for index in range(10):
            write(folder / "a" / f"{index}.png", size=(6, 8))
        write(folder / "a" / "odd.png", size=(9, 8))
        with pytest.raises(ValueError, match="different sizes need a `size`") as caught:
            data.load(folder)
        message = str(caught.value)
        assert "odd.png of 9 x 8" in message and ".png of 6 x 8" in message
        assert data.load(folder, size=6).image_shape == (6, 6, 3)

    def test_sizes_are_those_of_upright_images(self, folder):
        exif = Image.Exif()
        exif[0x0112] = 6
        for index in range(3):
            write(folder / f"{index}.png", size=(6, 8))
            write(folder / f"turned{index}.png", size=(8, 6), exif=exif)
        assert data.load(folder).image_shape == (6, 8, 3)


class TestLeftOut:
    def test_what_is_no_image_is_named(self, folder, capsys):
        numbered(folder / "a", 10)
        numbered(folder / ".thumbnails", 2)
        (folder / "a" / "notes.txt").write_text("said by nobody")
        (folder / "a" / "labels.csv").write_text("1,2\n")
        (folder / "a" / "table.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
        (folder / "a" / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9")
        (folder / "a" / "._000.png").write_bytes(bytes(100))  # what a Mac leaves on other disks
        (folder / "cover.png").write_bytes((folder / "a" / "000.png").read_bytes())
        (folder / "empty").mkdir()
        images = data.load(str(folder))
        assert sorted(every(images)) == list(range(10))
        out = capsys.readouterr().out
        assert out.startswith(f"{folder}: 8 left out: '.thumbnails' (hidden)") and out[-2] == "."
        assert out.count("\n") == 1 and "'a/._000.png' (hidden)" in out
        for name in ("notes.txt", "table.h5"):
            (folder / "a" / name).unlink()
        shutil.rmtree(folder / ".thumbnails")
        data.load(str(folder))
        assert capsys.readouterr().out == (
            f"{folder}: 5 left out: 'a/._000.png' (hidden), 'a/drawing.eps' (no image), "
            "'a/labels.csv' (no image), 'empty' (without images), "
            "'cover.png' (beside the classes)\n"
        )

    def test_nothing_is_said_where_nothing_is_left_out(self, folder, capsys):
        numbered(folder / "a", 3)
        data.load(folder)
        assert capsys.readouterr().out == ""

    def test_an_image_without_an_ending_is_an_image(self, folder):
        numbered(folder, 3)
        for path in folder.iterdir():
            path.rename(path.with_suffix(""))
        assert sorted(every(data.load(folder))) == [0, 1, 2]

    @pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "header", "link", "folder"])
    @pytest.mark.parametrize("ending", ["png", "jpg", "tif", "JPEG"])
    def test_a_damaged_image_is_an_error_that_names_it(self, folder, damage, ending):
        for index in range(5):
            write(folder / "a" / f"{index}.{ending}", size=(40, 40))
        path = folder / "a" / f"3.{ending}"
        whole = path.read_bytes()
        path.unlink()
        if damage == "link":
            path.symlink_to(folder / "absent")
        elif damage == "folder":
            path.symlink_to(path.name)  # to itself
        else:
            changed = {"cut": whole[: len(whole) // 2], "garbage": b"garbage", "empty": b""}
            path.write_bytes(changed.get(damage, bytes(20) + whole[20:]))
        with pytest.raises(data.CorruptFile, match=rf"cannot be read: .*Received: file={path}"):
            data.load(folder)

    def test_a_folder_without_images(self, folder):
        for content in ((), ("a.txt",), ("sub/a.txt",)):
            for name in content:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text("text")
            with pytest.raises(ValueError, match="no images to train with. Received: name="):
                data.load(folder)

    def test_images_beside_a_folder_of_texts_are_a_flat_folder(self, folder, capsys):
        numbered(folder, 10)
        (folder / "notes").mkdir()
        (folder / "notes" / "a.txt").write_text("text")
        images = data.load(folder)
        assert sorted(every(images)) == list(range(10)) and images.class_names == ()
        assert "'notes' (without images)" in capsys.readouterr().out

    def test_links_are_followed_but_never_in_a_circle(self, folder, tmp_path, capsys):
        numbered(tmp_path / "store" / "deep", 10)
        numbered(folder / "b", 10, start=10)
        (folder / "a").symlink_to(tmp_path / "store", target_is_directory=True)
        (tmp_path / "store" / "deep" / "up").symlink_to(tmp_path / "store")
        (folder / "b" / "again").symlink_to(folder)
        (folder / "c").symlink_to(folder / "b")
        images = data.load(folder)
        assert sorted(every(images)) == list(range(20))  # none of them twice
        out = capsys.readouterr().out
        for name in ("a/deep/up", "b/again", "c"):
            assert f"'{name}' (a link to a folder read before)" in out

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are texts")
    @pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
    def test_names_that_are_no_text(self, folder, monkeypatch, encoding):
        stream = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        mine = folder / os.fsdecode(b"\xff\x1b[2J")
        for index in range(3):
            write(mine / os.fsdecode(b"\xfe%d.png" % index))
        (mine / os.fsdecode(b"\xfa.txt")).write_text("no image")
        assert len(every(data.load(mine))) == 3
        assert stream.buffer.getvalue().decode(encoding) == (
            rf"{folder}/\udcff\x1b[2J: 1 left out: '\udcfa.txt' (no image)" + "\n"
        )

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="descriptors are POSIX")
    def test_a_pipe_is_not_waited_for(self, folder, capsys):
        numbered(folder, 3)
        os.mkfifo(folder / "pipe")
        assert len(every(data.load(folder))) == 3
        assert "'pipe' (no image)" in capsys.readouterr().out
        os.mkfifo(folder / "pipe.png")
        with pytest.raises(data.CorruptFile, match="it is no file. Received: file=.*pipe.png"):
            data.load(folder)

    def test_a_decompression_bomb_is_refused(self, folder, monkeypatch):
        def chunk(kind, content):
            crc = zlib.crc32(kind + content)
            return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

        numbered(folder, 3)
        for side in (10_000, 30_000):  # Pillow alone warns of the first and refuses the second
            header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
            rows = zlib.compress(bytes((side // 8 + 1) * side))
            (folder / "bomb.png").write_bytes(
                b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
            )
            with pytest.raises(data.CorruptFile, match=r"decompression bomb.*file=.*bomb.png"):
                data.load(folder, size=8)


class TestWhere:
    def test_a_folder_is_found_from_here_from_home_and_by_path(self, folder, monkeypatch):
        numbered(folder, 3)
        monkeypatch.chdir(folder.parent)
        monkeypatch.setenv("HOME", str(folder.parent))
        for name in (folder, str(folder), "mine", "./mine/", "~/mine"):
            assert data.load(name).name == os.fspath(name)
            assert data.load_or_embedded(name, limit=1).name == os.fspath(name)

    def test_what_is_no_folder_is_told_that_it_could_be_one(self, folder):
        with pytest.raises(ValueError, match="or of a folder of images. Received: name="):
            data.load(folder / "absent")
        (folder / "digits").mkdir()
        assert str(data.load("digits", limit=1)).startswith("digits: 1 train")

    def test_pillow_is_not_imported_before(self, folder):
        code = "import sys, aelib.data; print('PIL' in sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.stdout == "False\n", run.stderr


@pytest.fixture
def npz(tmp_path):
    def save(**arrays) -> str:
        np.savez(tmp_path / "mine.npz", **arrays)
        return str(tmp_path / "mine.npz")

    return save


class TestTable:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8, np.uint8, bool])
    def test_numbers_stay_as_they_are(self, npz, dtype):
        x = (100 * rng.standard_normal((50, 5))).astype(dtype)
        table = data.load(npz(x_train=x, x_test=x[:7]), validation=0)
        assert table.train.x.dtype == np.float32 and table.image_shape == (5,)
        np.testing.assert_array_equal(table.test.x, x[:7].astype(np.float32))
        order = np.lexsort(table.train.x.T), np.lexsort(x.astype(np.float32).T)
        np.testing.assert_array_equal(table.train.x[order[0]], x.astype(np.float32)[order[1]])
        assert str(table).endswith("50 train, 0 valid, 7 test rows of 5 numbers")
        assert repr(table.test) == "7 rows"

    def test_labels_go_with_their_rows(self, npz):
        x = np.arange(100.0).reshape(50, 2)
        table = data.load(npz(x_train=x, y_train=np.arange(50), x_test=x, y_test=np.arange(50)))
        assert len(table.valid.x) == 5
        for part in PARTS:
            split = getattr(table, part)
            np.testing.assert_array_equal(split.x[:, 0], 2 * split.y)

    @pytest.mark.parametrize("key", ["x_train", "x_test"])
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
    def test_every_number_must_be_one(self, npz, key, value):
        arrays = {"x_train": np.zeros((9, 3)), "x_test": np.zeros((9, 3))}
        arrays[key][-1, -1] = value
        with pytest.raises(ValueError, match=f"finite, as float32. Received: {key} with 1 NaN"):
            data.load(npz(**arrays))

    @pytest.mark.parametrize("dtype", [complex, "U3", "S3", "M8[s]"])
    def test_other_entries(self, npz, dtype):
        x = np.zeros((9, 3), dtype)
        with pytest.raises(ValueError, match="numbers in a table.*Received: x_train"):
            data.load(npz(x_train=x, x_test=x))

    def test_a_size_is_for_images(self, npz):
        x = np.zeros((9, 3))
        with pytest.raises(ValueError, match="is a table. Received: size=8"):
            data.load(npz(x_train=x, x_test=x), size=8)

    @pytest.mark.parametrize("shape", [(9, 4), (9, 3, 1), (9, 3, 3)])
    def test_columns_are_the_same(self, npz, shape):
        with pytest.raises(ValueError, match="same shape. Received: x_train.shape"):
            data.load(npz(x_train=np.zeros((9, 3)), x_test=np.zeros(shape)))


class TestOwnFile:
    def test_images_of_bits(self, npz):
        x = rng.integers(0, 2, (50, 6, 8)).astype(bool)
        images = data.load(npz(x_train=x, x_test=x[:10]))
        assert set(np.unique(images.train.x)) == {0.0, 1.0}
        np.testing.assert_array_equal(images.test.x[..., 0], x[:10])
        assert data.load(npz(x_train=x, x_test=x[:10]), size=3).image_shape == (3, 3, 1)

    @pytest.mark.parametrize("keys", [(), ("y_train",), ("y_test",)])
    def test_labels_where_there_are_some(self, npz, keys):
        x, y = np.zeros((10, 4, 4)), np.arange(10) % 2 == 1
        images = data.load(npz(x_train=x, x_test=x, **dict.fromkeys(keys, y)))
        for part in PARTS:
            key = "y_test" if part == "test" else "y_train"
            split = getattr(images, part)
            assert split.y.dtype == np.int64
            assert set(split.y) <= ({0, 1} if key in keys else {-1})

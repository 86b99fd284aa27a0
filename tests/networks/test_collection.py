"""A collection is known by the content of its images."""

from __future__ import annotations

import io
import os
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imi_bench.errors import CheckFailedError, ImageError, InputError
from imi_bench.networks.collection import open_images
from imi_bench.networks.file_hashes import FileHashes

PICTURES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


class Half:
    """A data set whose class and length say nothing of its content."""

    def __init__(self, pictures: np.ndarray) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> np.ndarray:
        return self.pictures[number]


def written(folder: Path, pictures: np.ndarray = PICTURES) -> Path:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number}.png", compress_level=0)
    return folder


def test_two_halves_of_a_data_set_are_two_collections() -> None:
    first, second = (open_images(Half(part)) for part in (PICTURES[:3], PICTURES[3:]))
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == open_images(Half(PICTURES[:3].copy())).fingerprint
    assert first.fingerprint == open_images(PICTURES[:3]).fingerprint


def test_pictures_overwritten_in_their_size_make_another_collection(tmp_path: Path) -> None:
    before = open_images(written(tmp_path / "a"))
    known, times = before.fingerprint, (tmp_path / "a" / "0.png").stat()
    written(tmp_path / "a", PICTURES[::-1])
    os.utime(tmp_path / "a" / "0.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    after = open_images(tmp_path / "a")
    assert (tmp_path / "a" / "0.png").stat().st_size == times.st_size
    assert after.names.tolist() == before.names.tolist()
    assert after.fingerprint != known


def test_remembered_hashes_are_used_only_for_unchanged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imi_bench.networks.file_hashes._FEW", 1)
    monkeypatch.setattr("imi_bench.networks.file_hashes._TICK_NS", -(10**12))
    folder = written(tmp_path / "a")
    memory = tmp_path / "memory.json"

    def hashed() -> tuple[list[str], int]:
        with FileHashes(folder, memory=memory) as hashes:
            found = [hashes.of(folder / f"{n}.png") for n in range(6)]
        return found, hashes.read

    first, read = hashed()
    assert (hashed(), read) == ((first, 0), 6)
    times = (folder / "0.png").stat()
    Image.fromarray(PICTURES[5]).save(folder / "0.png", compress_level=0)
    os.utime(folder / "0.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    again, read = hashed()
    assert read == 1
    assert again[0] == first[5]
    memory.write_text("no json")
    assert hashed() == (again, 6)


def test_a_hash_is_not_remembered_within_a_tick_of_the_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imi_bench.networks.file_hashes._FEW", 0)
    folder, memory = written(tmp_path / "a"), tmp_path / "memory.json"
    for _ in range(2):
        with FileHashes(folder, memory=memory) as hashes:
            hashes.of(folder / "0.png")
        assert hashes.read == 1


def test_hidden_files_are_no_images_and_are_counted(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    (folder / "._0.png").write_bytes(b"resource fork")
    (folder / "__MACOSX").mkdir()
    Image.fromarray(PICTURES[0]).save(folder / "__MACOSX" / "0.png")
    images = open_images(folder)
    assert len(images) == 6
    assert images.remarks == ("left out: 2 hidden files with the names of images",)


def test_linked_class_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    written(tmp_path / "elsewhere")
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "cats").symlink_to(tmp_path / "elsewhere")
    (folder / "dogs").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(folder)
    images = open_images(folder)
    assert images.names.tolist() == [f"{c}/{n}.png" for c in ("cats", "dogs") for n in range(6)]
    assert (images.repeated, len(images.unique())) == (6, 6)
    assert images.remarks == ("left out: 2 links back to a folder above",)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found nothing"):
        open_images(tmp_path / "empty")


def test_what_lies_beside_the_images_is_counted_by_kind(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    for name in ("a.jp2", "b.JP2", "c.heic", "labels", ".DS_Store"):
        (folder / name).write_bytes(b"?")
    images = open_images(folder)
    assert len(images) == 6
    assert images.remarks == (
        "left out: 1 link to nothing with the names of images",
        "left out: 4 files of other formats (.jp2 2, .heic 1, no suffix 1)",
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.heic").write_bytes(b"?")
    with pytest.raises(InputError, match=r"found 1 file of other formats \(.heic 1\)"):
        open_images(tmp_path / "b")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_files_of_several_pictures_are_counted_whatever_they_are_called(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    folder = written(tmp_path / "a")
    first, *rest = [Image.fromarray(np.full((8, 8, 3), grey, np.uint8)) for grey in (90, 9, 200)]
    first.save(folder / f"z.{suffix}", format=kind, save_all=True, append_images=rest)
    with warnings.catch_warnings(action="ignore"), Image.open(folder / f"z.{suffix}") as made:
        if made.format != kind:
            pytest.skip("this Pillow (10.3, say) writes MPO files that it cannot read")
    images = open_images(folder)
    assert int(images.read(6).mean()) == pytest.approx(90, abs=2)
    assert images.cautions == ("1 of 7 images is the first picture of a file of several",)
    assert not images.take(np.arange(6)).cautions


def test_pictures_of_several_in_a_data_set_are_counted(tmp_path: Path) -> None:
    one, other = (Image.fromarray(picture) for picture in PICTURES[:2])
    one.save(tmp_path / "one.jpg")
    one.save(tmp_path / "two.gif", save_all=True, append_images=[other])

    class Files:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: int) -> Image.Image:
            data = (tmp_path / ("one.jpg", "two.gif")[number]).read_bytes()
            return Image.open(io.BytesIO(data))

    images = open_images(Files())
    assert images.cautions == ("1 of 2 images is the first picture of a file of several",)


def test_transparent_images_are_the_same_from_files_and_from_pillow(tmp_path: Path) -> None:
    rgba = Image.fromarray(np.dstack([PICTURES[0], np.full((8, 8), 100, np.uint8)]))
    rgba.save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_images(tmp_path).read(0), open_images([rgba]).read(0))


def test_a_picture_has_the_pixels_that_are_read(shared: Path, tmp_path: Path) -> None:
    turned, seen = Image.Exif(), Image.fromarray(PICTURES[0])
    turned[0x0112] = 6
    seen.save(tmp_path / "turned.jpg", exif=turned)
    for mode in ("L", "P", "CMYK", "RGBA"):
        suffix = "tiff" if mode == "CMYK" else "png"
        seen.convert(mode).save(tmp_path / f"{mode}.{suffix}")
    seen.save(tmp_path / "moving.gif", save_all=True, append_images=[seen.rotate(90)])
    for folder in (tmp_path, shared / "cases" / "images"):
        images = open_images(folder)
        for number in range(len(images)):
            picture = images.picture(number, known=True)
            assert picture.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(picture), images.read(number))


@pytest.mark.parametrize("of_files", [True, False])
def test_a_picture_that_changed_is_refused_where_its_content_must_be_known(
    tmp_path: Path, of_files: bool
) -> None:
    pictures = PICTURES.copy()
    images = open_images(written(tmp_path / "a") if of_files else pictures).take(np.array([2, 1]))
    assert len(images.hashes) == 2
    written(tmp_path / "a", PICTURES[::-1])
    pictures[:] = PICTURES[::-1]
    np.testing.assert_array_equal(np.asarray(images.picture(0)), PICTURES[3])
    with pytest.raises(ImageError, match="image changed since the images were hashed"):
        images.picture(0, known=True)


def test_some_images_in_an_order_keep_their_content() -> None:
    images = open_images(PICTURES)
    some = images.take(np.array([4, 1]))
    np.testing.assert_array_equal(some.read(0), PICTURES[4])
    assert some.hashes.tolist() == images.hashes[[4, 1]].tolist()
    assert some.fingerprint != images.take(np.array([1, 4])).fingerprint


@pytest.mark.vision
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_one_line_whoever_decodes_it(tmp_path: Path, workers: int) -> None:
    pytest.importorskip("torch")
    from imi_bench.networks.decoding import Decoding
    from imi_bench.networks.forward import forward_batches
    from imi_bench.vision.loading import load_network

    folder = written(tmp_path / "a")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    decoding = Decoding(network.preprocess, open_images(folder), batch_size=2, workers=workers)
    with pytest.raises(ImageError, match=r"^image is damaged or truncated: .*3\.png") as caught:
        list(forward_batches(network, decoding, range(6)))
    assert "Traceback" not in str(caught.value)


@pytest.mark.whole
@pytest.mark.vision
def test_a_decoding_process_that_is_killed_is_one_line() -> None:
    pytest.importorskip("torch")
    from imi_bench.networks.collection import ImageSet
    from imi_bench.networks.decoding import Decoding
    from imi_bench.networks.forward import forward_batches
    from imi_bench.vision.loading import load_network

    parent = os.getpid()

    def deadly(number: int) -> np.ndarray:
        if number == 3 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return PICTURES[number % len(PICTURES)]

    names = np.array([str(n) for n in range(6)], dtype=object)
    images = ImageSet(names, deadly, lambda: [f"{n:064x}" for n in range(6)])
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    decoding = Decoding(network.preprocess, images, batch_size=2, workers=1)
    with pytest.raises(CheckFailedError, match="a process that decodes images died") as caught:
        list(forward_batches(network, decoding, range(6)))
    assert "\n" not in str(caught.value)
    assert "what is finished is kept" in str(caught.value)

"""Kept pixels are those of the files as they are, whatever happened to the folder they lie in."""

from __future__ import annotations

import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from imi_bench.errors import ImageError, InputError
from imi_bench.networks import kept_pixels
from imi_bench.networks.collection import ImageSet, open_images
from imi_bench.networks.decoding import Decoding
from imi_bench.networks.kept_pixels import KeptPixels, say_kept
from imi_bench.replay.cache_folder import cache_info, prune_cache
from imi_bench.vision.card import Preprocessing
from imi_bench.vision.preprocessing import Preprocess, plain_preprocess

pytest.importorskip("torch")
pytestmark = pytest.mark.vision

PICTURES = np.random.default_rng(0).integers(0, 256, (7, 40, 60, 3), dtype=np.uint8)
SMALL = plain_preprocess(Preprocessing(crop=16, resize=20))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return written(tmp_path / "photos", PICTURES)


def written(folder: Path, pictures: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


def batches(
    images: ImageSet, *, preprocess: Preprocess = SMALL, keep: bool = True, size: int = 3
) -> np.ndarray:
    stream = Decoding(preprocess, images, batch_size=size, keep_pixels=keep)
    return np.concatenate([batch.numpy() for batch in stream.batches(range(len(images)))])


def files(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.pixels"))


def undecodable(images: ImageSet) -> ImageSet:
    """The same contents, where nothing can be read any more."""

    def read(number: int) -> np.ndarray:
        raise AssertionError(f"image {number} is decoded")

    return ImageSet(images.names, read, lambda: images.hashes.tolist())


def test_a_later_pass_decodes_nothing_and_gets_the_same_pixels(photos: Path, cache: Path) -> None:
    images = open_images(photos)
    wanted = batches(images, keep=False)
    assert not files(cache)
    np.testing.assert_array_equal(batches(images), wanted)
    assert len(files(cache)) == 3
    np.testing.assert_array_equal(batches(undecodable(images)), wanted)
    # in another order, in other batches, a part of them
    some = undecodable(images).take(np.array([6, 2, 2, 0]))
    np.testing.assert_array_equal(batches(some, size=2), wanted[[6, 2, 2, 0]])
    # in other folders, under other names
    moved = photos.rename(photos.parent / "moved")
    assert KeptPixels(SMALL, open_images(moved)).known.all()
    assert len(files(cache)) == 3


def test_networks_of_one_geometry_share_and_others_do_not(photos: Path, cache: Path) -> None:
    images = open_images(photos)
    batches(images)
    clip = plain_preprocess(Preprocessing(crop=16, resize=20, mean=(0.5,) * 3, std=(0.2,) * 3))
    np.testing.assert_array_equal(
        batches(undecodable(images), preprocess=clip), batches(images, keep=False)
    )
    for other in (
        Preprocessing(crop=16, resize=21),
        Preprocessing(crop=18, resize=20),
        Preprocessing(crop=16, resize=20, interpolation="bicubic"),
    ):
        assert not KeptPixels(plain_preprocess(other), images).known.any(), other


def test_other_versions_of_what_decodes_find_nothing(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_images(photos)
    batches(images)
    assert KeptPixels(SMALL, images).known.all()
    monkeypatch.setattr(PIL, "__version__", "0")
    assert not KeptPixels(SMALL, images).known.any()


def test_overwritten_files_are_decoded_again(photos: Path) -> None:
    batches(open_images(photos))
    times = (photos / "0.png").stat()
    written(photos, PICTURES[::-1])
    os.utime(photos / "0.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    (photos / "1.png").unlink()
    images = open_images(photos)
    np.testing.assert_array_equal(batches(images), batches(images, keep=False))


def test_a_file_that_changes_during_the_pass_is_refused_and_not_kept(
    photos: Path, cache: Path
) -> None:
    images = open_images(photos)
    assert len(images.hashes) == 7
    written(photos, PICTURES[::-1])
    with pytest.raises(ImageError, match=r"image changed since .*0\.png"):
        batches(images)
    assert not files(cache)


@pytest.mark.parametrize("harm", ["bit", "short", "long", "empty", "other shape"])
def test_damage_is_told_and_decoded_again(
    photos: Path, cache: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = open_images(photos)
    wanted = batches(images)
    path = files(cache)[1]
    data = bytearray(path.read_bytes())
    if harm == "bit":
        data[-5] ^= 1
    if harm == "other shape":
        data = data.replace(b"16, 16, 3", b"16, 3, 16")
    changed = {"short": data[:-1], "long": data + b"0", "empty": b""}.get(harm, data)
    path.write_bytes(changed)
    np.testing.assert_array_equal(batches(images), wanted)
    assert f"{path}: " in capsys.readouterr().err
    np.testing.assert_array_equal(batches(undecodable(images)), wanted)


def test_what_a_killed_process_leaves_is_not_read(photos: Path, cache: Path) -> None:
    images = open_images(photos)
    wanted = batches(images)
    whole = files(cache)[0]
    whole.rename(whole.with_name(f".{whole.name}.0-0-x.pixels"))
    assert KeptPixels(SMALL, images).known.sum() in (4, 6)  # of batches of 3, 3 and 1
    np.testing.assert_array_equal(batches(images), wanted)


def test_what_is_pruned_during_a_pass_is_decoded_again(photos: Path, cache: Path) -> None:
    images = open_images(photos)
    wanted = batches(images)
    stream = Decoding(SMALL, images, batch_size=3, keep_pixels=True).batches(range(7))
    found = [next(stream).numpy().copy()]
    prune_cache(kinds=["pixels"], remove=True)
    assert not files(cache)
    found += [batch.numpy() for batch in stream]
    np.testing.assert_array_equal(np.concatenate(found), wanted)


def test_two_that_write_at_the_same_time_do_no_harm(photos: Path) -> None:
    images = open_images(photos)
    pixels = batches(images, keep=False)
    one, other = KeptPixels(SMALL, images), KeptPixels(SMALL, images)
    one.add(range(7), pixels)
    other.add(range(2, 7), pixels[2:])
    other.add(range(7), pixels)
    np.testing.assert_array_equal(batches(undecodable(images)), pixels)


def test_the_size_is_said_before_and_too_little_room_is_refused(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_images(photos)
    assert say_kept(SMALL, images).startswith("keeps pixels: 7 images of 16 x 16; 0.0 MB to write")
    assert not cache.exists()
    batches(images.take(np.arange(3)))
    assert "3 of them there already" in say_kept(SMALL, images)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(kept_pixels, "disk_usage", lambda _: usage(9, 9, 3071))
    with pytest.raises(InputError, match=r"no room to keep pixels.*for 4 images"):
        say_kept(SMALL, images)


def test_the_cache_knows_them(photos: Path) -> None:
    batches(open_images(photos))
    (row,) = cache_info().to_dict("records")
    assert (row["kind"], row["of"], row["files"]) == ("pixels", "16 x 16 pixels", 4)
    assert len(prune_cache(remove=True)) == 1
    assert not len(cache_info())

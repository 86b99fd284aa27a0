"""Images by content: hashes, the fixed PNG form, damage of every kind."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from imi_bench.errors import ImageError
from imi_bench.tables.images import (
    MAX_PIXELS,
    Images,
    decode_bytes,
    hash_checked,
    png_bytes,
)

PIXELS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)),
    elements=st.integers(0, 255),
)


def saved(pixels: np.ndarray, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=form, **options)
    return buffer.getvalue()


def test_one_pixel_png_by_hand() -> None:
    data = b"\x78\x01" + b"\x01\x04\x00\xfb\xff" + b"\x00\x01\x02\x03"
    data += struct.pack(">I", zlib.adler32(b"\x00\x01\x02\x03"))
    body = png_bytes(np.array([[[1, 2, 3]]], np.uint8))
    assert body.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01")
    assert data in body
    assert body.endswith(b"\x00\x00\x00\x00IEND\xaeB`\x82")


@given(PIXELS)
def test_pillow_reads_our_png(pixels: np.ndarray) -> None:
    with Image.open(io.BytesIO(png_bytes(pixels))) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), pixels)
    assert np.array_equal(decode_bytes(png_bytes(pixels), where="here"), pixels)


def test_large_png_needs_several_stored_blocks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 301, 3), dtype=np.uint8)
    assert np.array_equal(decode_bytes(png_bytes(pixels), where="here"), pixels)


def test_array_and_its_file_have_one_hash(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(pixels))
    images, rows = Images.collect([pixels, path, pixels.copy()])
    assert rows.tolist() == [0, 0, 0]
    assert images.hashes[0] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert images.file_bytes(0) == path.read_bytes()


@given(st.lists(st.integers(0, 4), max_size=12))
def test_collect_keeps_each_content_once(values: list[int]) -> None:
    sources = [np.full((2, 1, 3), value, np.uint8) for value in values]
    images, rows = Images.collect(sources)
    assert len(images) == len(set(values)) == len(set(images.hashes))
    for source, row in zip(sources, rows, strict=True):
        assert np.array_equal(images.decode(row), source)


def test_shape_is_part_of_the_content() -> None:
    images, _ = Images.collect([np.zeros((2, 1, 3), np.uint8), np.zeros((1, 2, 3), np.uint8)])
    assert len(images) == 2


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2, 3)),
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((0, 2, 3), np.uint8),
    ],
    ids=["float", "grey", "alpha", "empty"],
)
def test_arrays_that_are_no_images(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="not an RGB image"):
        Images.collect([array])


def test_anonymous_images_hide_their_files(tmp_path: Path) -> None:
    path = tmp_path / "max_9.png"
    path.write_bytes(png_bytes(np.zeros((1, 1, 3), np.uint8)))
    images, _ = Images.collect([path, np.ones((1, 1, 3), np.uint8)])
    hidden = images.anonymous(np.array([1, 0])).anonymous(np.array([1]))
    assert len(hidden) == 1
    assert hidden.sources == ()
    assert "max_9" not in repr(hidden)
    assert hidden.hashes[0] == images.hashes[0]
    assert hidden.decode(0).tolist() == [[[0, 0, 0]]]


def test_images_hash_ignores_order() -> None:
    one, two = np.zeros((1, 1, 3), np.uint8), np.ones((1, 1, 3), np.uint8)
    assert Images.collect([one, two])[0].hash == Images.collect([two, one])[0].hash
    assert Images.collect([one])[0].hash != Images.collect([one, two])[0].hash


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(np.zeros((1, 1, 3), np.uint8)))
    images, _ = Images.collect([path])
    path.write_bytes(png_bytes(np.ones((1, 1, 3), np.uint8)))
    with pytest.raises(ImageError, match=r"changed while it was used.*a\.png"):
        images.decode(0)
    path.unlink()
    with pytest.raises(ImageError, match=r"cannot be read.*a\.png"):
        images.decode(0)


def test_transparency_is_laid_on_white() -> None:
    rgba = np.array([[[255, 0, 0, 0], [0, 0, 255, 255]]], np.uint8)
    pixels = decode_bytes(saved(rgba, "PNG"), where="here")
    assert pixels.tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK"])
def test_other_colour_modes_become_rgb(mode: str) -> None:
    buffer = io.BytesIO()
    form = "JPEG" if mode == "CMYK" else "PNG"
    Image.new(mode, (3, 2)).save(buffer, format=form)
    assert decode_bytes(buffer.getvalue(), where="here").shape == (2, 3, 3)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_every_truncation_is_noticed(form: str, tmp_path: Path) -> None:
    """Cutting anything but the last, contentless, bytes must be an error that names the file."""
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    whole = saved(pixels, form)
    path = tmp_path / "cut.png"
    for length in [0, 1, 7, 20, 40, len(whole) // 2, len(whole) - 200]:
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"cut\.png"):
            hash_checked(path)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_in_a_png_is_noticed_or_harmless(place: int, flip: int) -> None:
    """Checksums cover every chunk; nothing but an `ImageError` may come out."""
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    data = bytearray(png_bytes(pixels))
    data[place % len(data)] ^= flip
    try:
        decoded = decode_bytes(bytes(data), where="here")
    except ImageError:
        return
    assert decoded.shape == pixels.shape


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(ImageError, match="here"):
        decode_bytes(data, where="here")


def test_what_is_no_image(tmp_path: Path) -> None:
    cases = {"text.png": b"<html>not found</html>", "empty.png": b""}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(
            ImageError, match=rf"not an image: .*{name}: found .*, wanted one of PNG"
        ):
            hash_checked(tmp_path / name)
    with pytest.raises(ImageError, match="cannot be read"):
        hash_checked(tmp_path)


@pytest.mark.parametrize("pixels", [MAX_PIXELS, 100_000_000, 2**30])
def test_huge_pictures_are_refused_before_they_are_decoded(pixels: int) -> None:
    body = png_bytes(np.zeros((1, 1, 3), np.uint8))
    side = int(pixels**0.5) + 1
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = body[:12] + header + struct.pack(">I", zlib.crc32(header)) + body[33:]
    with pytest.raises(ImageError, match="too large"):
        decode_bytes(bomb, where="here")


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_a_trial_shows_no_file_of_several_pictures(tmp_path: Path, form: str) -> None:
    first, last = (Image.fromarray(np.full((8, 8, 3), grey, np.uint8)) for grey in (90, 9))
    path = tmp_path / "moving"
    first.save(path, format=form, save_all=True, append_images=[last])
    for refuse in (hash_checked, lambda one: decode_bytes(one.read_bytes(), where=one)):
        with pytest.raises(ImageError, match=r"several pictures in one file: .*found 2 frames"):
            refuse(path)


def test_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(np.zeros((5, 5, 3), np.uint8), "JPEG"))
    assert hash_checked(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "name", ["grey16.png", "grey16.tiff", "grey_int32.tiff", "grey_float.tiff"]
)
def test_deep_grey_images_are_not_clipped(shared: Path, name: str) -> None:
    folder = shared / "cases" / "images"
    wanted = decode_bytes((folder / "grey8_reference.png").read_bytes(), where="reference")
    found = decode_bytes((folder / name).read_bytes(), where=name)
    assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[0, 255]], np.int32), "int32 from 0 to 255, wanted 0 to 2.14748e[+]09"),
        (np.array([[-1, 2**31 - 1]], np.int32), "scale of the grey values is not known"),
        (np.array([[0.0, 255.0]], np.float32), "float32 from 0 to 255, wanted 0 to 1;"),
        (np.array([[0.0, np.nan]], np.float32), "not finite"),
    ],
)
def test_grey_values_of_an_unknown_scale_are_refused(values: np.ndarray, said: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format="TIFF")
    with pytest.raises(ImageError, match=said):
        decode_bytes(buffer.getvalue(), where="here")


def grey_tiff(values: np.ndarray, **tags: int) -> bytes:
    """A TIFF file of one row, some of whose tags say something else than Pillow wrote."""
    buffer = io.BytesIO()
    Image.fromarray(values[None]).save(buffer, format="TIFF", tiffinfo={339: 1})
    data = buffer.getvalue()
    for name, value in tags.items():
        number = {"bits": 258, "black_or_white": 262, "kind": 339}[name]
        at = data.index(struct.pack("<HHI", number, 3, 1)) + 8
        data = data[:at] + struct.pack("<HH", value, 0) + data[at + 4 :]
    return data


TWELVE = np.frombuffer(bytes([0xFF, 0xF0, 0x00, 0x80]), np.uint16)  # 4095, 0 in 12 bits each


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (grey_tiff(np.array([0, 65535], np.uint16), black_or_white=0), [255, 0]),
        (grey_tiff(np.array([0.0, 0.2], np.float32), black_or_white=0), [255, 204]),
        (grey_tiff(TWELVE, bits=12), [255, 0]),
        (grey_tiff(np.array([0, 2**31 - 1], np.int32), kind=1), [0, 127]),
        (grey_tiff(np.array([0, 65535], np.uint16)), [0, 255]),
    ],
    ids=["16 bits, white is zero", "float, white is zero", "12 bits", "unsigned 32", "16 bits"],
)
def test_a_tiff_file_says_what_its_greys_mean(data: bytes, wanted: list[int]) -> None:
    found = decode_bytes(data, where="here")
    assert found[0, :, 0].tolist() == wanted


def test_signed_bytes_are_refused() -> None:
    with pytest.raises(ImageError, match=r"scale of the grey values is not known.*found int8"):
        decode_bytes(grey_tiff(np.array([0, 255], np.uint8), kind=2), where="here")


@pytest.mark.parametrize("values", [[0, 9, 200], [0, 9, 65535]], ids=["8 bits", "16 bits"])
def test_a_grey_that_a_png_calls_clear_is_white(values: list[int]) -> None:
    kind = np.uint8 if max(values) < 256 else np.uint16
    buffer = io.BytesIO()
    picture = Image.fromarray(np.array([values], kind))
    picture.save(buffer, format="PNG", transparency=9)
    shown = decode_bytes(buffer.getvalue(), where="here")[0, :, 0]
    assert shown.tolist() == [0, 255, min(values[2], 255)]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honoured_as_pillow_does(orientation: int) -> None:
    from PIL import ImageOps

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", exif=exif)
    found = decode_bytes(buffer.getvalue(), where="here")
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(buffer.getvalue())))
    assert np.array_equal(found, np.asarray(wanted))
    assert found.shape == ((8, 16, 3) if orientation < 5 else (16, 8, 3))


def test_a_damaged_exif_block_counts_as_none() -> None:
    buffer = io.BytesIO()
    picture = Image.new("RGB", (4, 2), "red")
    picture.save(buffer, format="JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01")
    assert decode_bytes(buffer.getvalue(), where="here").shape == (2, 4, 3)


def test_nobody_writes_into_an_image(tmp_path: Path) -> None:
    own = np.full((4, 5, 3), 7, np.uint8)
    file = tmp_path / "one.png"
    file.write_bytes(png_bytes(own + 1))
    images, _ = Images.collect([own, file])
    for row in range(len(images)):
        with pytest.raises(ValueError, match="read-only"):
            images.decode(row)[0, 0] = 0
    own[0, 0] = 9  # whose it is may
    assert images.decode(0)[0, 0].tolist() == [9, 9, 9]

"""Classical observers: scikit-image as reference, and what each part must tell apart."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from imi_bench.errors import InputError, UnknownNameError
from imi_bench.observers.classical import (
    BALANCED,
    Classical,
    ColourHistogram,
    Gradients,
    OrientedEnergy,
    Pixel,
    classical,
    luminance,
    pixel,
)
from imi_bench.observers.structure import Ssim
from imi_bench.tables import BlindTrials
from imi_bench.tables.images import Images


def grating(angle: float, *, wavelength: float = 8, phase: float = 0.0, side: int = 96):
    y, x = np.mgrid[:side, :side]
    along = x * np.cos(angle) + y * np.sin(angle)
    wave = 127.5 * (1 + np.sin(2 * np.pi * along / wavelength + phase))
    return np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)


def flat(*colour: int):
    return np.full((40, 30, 3), colour, np.uint8)


def noise(seed: int, *shape: int):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def one_trial(observer, positive, negative, first, second) -> float:
    images, rows = Images.collect([positive, negative, first, second])
    trial = BlindTrials(images, rows[None, :1], rows[None, 1:2], rows[None, 2:])
    codes = observer.encode([images.decode(row) for row in range(len(images))])
    return float(observer.decide(trial, codes)[0])


def test_ssim_is_the_formula_of_wang_et_al() -> None:
    observer = Ssim(size=48, window=7)
    sources = [noise(i, 48, 48) // (i + 1) for i in range(4)] + [grating(0.3, side=60)]
    codes = observer.encode(sources)
    pairs = np.array([(i, j) for i in range(5) for j in range(5)])
    windows = [
        np.lib.stride_tricks.sliding_window_view(code.astype(float), (7, 7)).reshape(-1, 49)
        for code in codes
    ]

    def by_hand(one: np.ndarray, other: np.ndarray) -> float:
        x, y = one.mean(1), other.mean(1)
        covariance = ((one - x[:, None]) * (other - y[:, None])).sum(1) / 48
        top = (2 * x * y + 0.01**2) * (2 * covariance + 0.03**2)
        spread = one.var(1, ddof=1) + other.var(1, ddof=1)
        return float((top / ((x**2 + y**2 + 0.01**2) * (spread + 0.03**2))).mean())

    expected = [by_hand(windows[i], windows[j]) for i, j in pairs]
    np.testing.assert_allclose(observer.compare(codes, pairs), expected, atol=1e-10)


def test_ssim_decides_by_the_mean_over_references() -> None:
    rng = np.random.default_rng(0)
    observer = Ssim(size=16)
    images, _ = Images.collect([noise(i, 16, 16) for i in range(12)])
    rows = np.array([rng.permutation(12)[:8] for _ in range(5)])
    trials = BlindTrials(images, rows[:, :3], rows[:, 3:6], rows[:, 6:])
    codes = observer.encode([images.decode(row) for row in range(12)])

    def s(a: int, b: int) -> float:
        one, other = codes[a].astype(float), codes[b].astype(float)
        return structural_similarity(one, other, data_range=1.0)

    expected = [
        sum(
            sign * (np.mean([s(q, e) for e in row[:3]]) - np.mean([s(q, e) for e in row[3:6]]))
            for q, sign in ((row[6], 1), (row[7], -1))
        )
        for row in rows
    ]
    np.testing.assert_allclose(observer.decide(trials, codes), expected, atol=1e-10)


@pytest.mark.parametrize("window", [6, 65])
def test_ssim_refuses_a_bad_window(window) -> None:
    with pytest.raises(InputError, match="bad window"):
        Ssim(size=64, window=window)


def test_luminance_is_that_of_pillow() -> None:
    image = noise(0, 64, 64)
    expected = np.asarray(Image.fromarray(image).convert("L")) / 255
    np.testing.assert_allclose(luminance(image, 64), expected, atol=1 / 255)


def test_pixel_distance_is_the_root_mean_square_difference() -> None:
    a, b = Pixel(size=8)([flat(0, 0, 0), flat(255, 255, 0)])
    assert np.linalg.norm(a - b) == pytest.approx(np.sqrt(2 / 3), rel=1e-6)


def test_colour_sees_colour_and_not_layout() -> None:
    describe = ColourHistogram()
    red, green, near_red = (
        describe(flat(220, 30, 30)),
        describe(flat(30, 220, 30)),
        describe(flat(214, 34, 34)),
    )
    assert red @ near_red > 0.8 > 0.05 > red @ green
    image = noise(0, 96, 96)
    np.testing.assert_allclose(describe(image), describe(image[::-1, ::-1]), atol=1e-12)


def test_texture_sees_orientation_and_scale_and_not_phase() -> None:
    describe = OrientedEnergy()
    here = describe(grating(0.0))
    shifted, turned, wider = (
        describe(grating(0.0, phase=2.0)),
        describe(grating(np.pi / 2)),
        describe(grating(0.0, wavelength=16)),
    )
    assert here @ shifted > 0.95  # not 1: mirrored borders
    assert here @ turned < 0.9 * (here @ shifted)
    assert here @ wider < 0.9 * (here @ shifted)


def test_the_filter_that_answers_most_has_the_gratings_orientation_and_wavelength() -> None:
    describe = OrientedEnergy(grid=1)
    for scale, wavelength in enumerate((4, 8, 16)):
        for turn in range(6):
            answer = describe(grating(np.pi * turn / 6, wavelength=wavelength))[:-1]
            assert np.argmax(answer) == 6 * scale + turn


@pytest.mark.parametrize("part", [ColourHistogram, OrientedEnergy, Gradients])
@pytest.mark.parametrize("image", [flat(0, 0, 0), flat(9, 200, 90), noise(1, 5, 300)])
def test_every_part_is_a_unit_vector_even_of_an_empty_image(part, image) -> None:
    assert np.linalg.norm(part()(image)) == pytest.approx(1)


def test_the_cosine_of_the_whole_is_the_weighted_mean_of_the_parts() -> None:
    encoder = Classical({"colour": 1, "gradients": 3})
    a, b = noise(0, 50, 60), grating(0.4)
    whole = encoder([a, b]).astype(float)
    colour, gradients = ColourHistogram(), Gradients()
    expected = 0.25 * colour(a) @ colour(b) + 0.75 * gradients(a) @ gradients(b)
    assert whole[0] @ whole[1] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("observer", "positive", "negative", "first", "second"),
    [
        (pixel(), flat(200, 0, 0), flat(0, 0, 200), flat(180, 20, 0), flat(0, 20, 180)),
        (
            pixel(similarity="l2"),
            flat(200, 0, 0),
            flat(0, 0, 200),
            flat(180, 20, 0),
            flat(0, 20, 180),
        ),
        (
            classical(weights={"colour": 1}),
            flat(200, 0, 0),
            flat(0, 0, 200),
            flat(180, 20, 0),
            flat(0, 20, 180),
        ),
        (
            classical(weights={"texture": 1}),
            grating(0.0),
            grating(1.5),
            grating(0.05, phase=1),
            grating(1.55, phase=2),
        ),
        (
            classical(weights={"gradients": 1}),
            grating(0.0),
            grating(1.5),
            grating(0.05, phase=1),
            grating(1.55, phase=2),
        ),
        (classical(), grating(0.0), flat(0, 0, 200), grating(0.1), flat(0, 9, 180)),
        (Ssim(), grating(0.0), grating(1.5), grating(0.01), grating(1.49)),
    ],
)
def test_the_query_like_the_positive_references_is_chosen(
    observer, positive, negative, first, second
) -> None:
    assert one_trial(observer, positive, negative, first, second) > 0
    assert one_trial(observer, positive, negative, second, first) < 0


def test_classical_refuses_unknown_parts_and_describes_its_weights() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'colour'"):
        classical(weights={"color": 1.0})
    weights = classical().describe()["weights"]
    assert weights == {part: weight / sum(BALANCED.values()) for part, weight in BALANCED.items()}

"""Corruptions: the published constants, and what each kind does to small images that are made here."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from benchmark.data import corruptions
from benchmark.data.corruptions import APPLY, CONSTANTS, KINDS, corrupted

#: Hendrycks and Dietterich, robustness/ImageNet-C/create_c/make_cifar_c.py; elastic's are multiples of the width there.
PUBLISHED: dict[str, list[Any]] = {
    "brightness": [0.05, 0.1, 0.15, 0.2, 0.3],
    "contrast": [0.75, 0.5, 0.4, 0.3, 0.15],
    "saturate": [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)],
    "jpeg": [80, 65, 58, 50, 40],
    "pixelate": [0.95, 0.9, 0.85, 0.75, 0.65],
    "fog": [(0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)],
    "frost": [(1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)],
    "elastic": [(0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)],
    "snow": [
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ],
    "spatter": [
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ],
}
#: Learning from Failure's type 0, in its order.
TYPE_0 = ["snow", "frost", "fog", "brightness", "contrast", "spatter", "elastic", "jpeg", "pixelate", "saturate"]
DRAWN = {"snow", "frost", "fog", "spatter", "elastic"}
SEVERITIES = pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def photographs(n: int = 40) -> np.ndarray:
    """(n, 32, 32, 3) uint8: smooth shapes in colours, from dark to bright."""
    noise = gaussian_filter(rng().normal(size=(n, 32, 32, 3)), (0, 2, 2, 0.3), mode="wrap")
    centres = np.linspace(60, 190, n)[:, None, None, None]
    return np.clip(centres + 320 * noise, 0, 255).astype(np.uint8)


def level(value: int, n: int = 100) -> np.ndarray:
    return np.full((n, 32, 32, 3), value, np.uint8)


def apply(kind: str, images: np.ndarray, severity: int, role: str = "test") -> np.ndarray:
    """All ``images`` (n, 32, 32, 3) with one kind, as int64."""
    attributes = torch.full((len(images),), KINDS.index(kind))
    changed = corrupted(torch.from_numpy(images).permute(0, 3, 1, 2), attributes, severity, role)
    return changed.permute(0, 2, 3, 1).numpy().astype(np.int64)


def distance(kind: str, severity: int) -> float:
    images = photographs()
    return float(np.abs(apply(kind, images, severity) - images).mean())


# Constants, shapes, randomness.


def test_kinds_and_constants_are_the_published_ones() -> None:
    assert list(KINDS) == TYPE_0
    plain = {kind: [c if len(c) > 1 else c[0] for c in table] for kind, table in CONSTANTS.items()}
    assert plain == PUBLISHED


@SEVERITIES
def test_each_image_gets_the_corruption_of_its_attribute(severity: int) -> None:
    images = torch.from_numpy(photographs(60)).permute(0, 3, 1, 2).contiguous()
    before, attributes = images.clone(), torch.arange(60) * 7 % 10
    mixed = corrupted(images, attributes, severity, "test")
    assert (mixed.shape, mixed.dtype, mixed.is_contiguous()) == (images.shape, torch.uint8, True)
    assert torch.equal(images, before)
    for attribute, kind in enumerate(KINDS):
        own = attributes == attribute
        assert not torch.equal(mixed[own], images[own]), kind
        if kind not in DRAWN:
            assert torch.equal(mixed[own], corrupted(images[own], attributes[own], severity, "other"))


def test_draws_depend_on_the_role_alone() -> None:
    images = photographs(20)
    for kind in KINDS:
        np.random.seed(1)
        first = apply(kind, images, 4)
        np.random.seed(2)
        torch.manual_seed(2)
        assert np.array_equal(first, apply(kind, images, 4))
        assert np.array_equal(first, apply(kind, images, 4, role="another")) == (kind not in DRAWN), kind


def test_images_of_one_kind_differ_in_what_is_drawn() -> None:
    for kind in DRAWN:
        assert len(np.unique(apply(kind, np.repeat(photographs(1), 8, 0), 4), axis=0)) == 8, kind


def test_more_images_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = apply("contrast", photographs(), 3)
    monkeypatch.setattr(corruptions, "CHUNK", 7)
    assert np.array_equal(apply("contrast", photographs(), 3), whole)


def test_no_image() -> None:
    nothing = torch.empty(0, 3, 32, 32, dtype=torch.uint8)
    assert corrupted(nothing, torch.empty(0).long(), 1, "test").shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("images", "severity", "message"),
    [
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 0, "severity must be 1 to 5, not 0"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 6, "severity must be 1 to 5, not 6"),
        (torch.zeros(1, 3, 28, 28, dtype=torch.uint8), 1, r"must be \(N, 3, 32, 32\) uint8, not \(1, 3, 28, 28\)"),
        (torch.zeros(1, 3, 32, 32), 1, r"must be \(N, 3, 32, 32\) uint8, not .* torch.float32"),
    ],
)
def test_what_cannot_be_corrupted(images: Tensor, severity: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corrupted(images, torch.zeros(1).long(), severity, "test")


@pytest.mark.parametrize("kind", ["snow", "fog", "brightness", "contrast", "jpeg", "pixelate"])
def test_the_severer_the_further_from_the_original(kind: str) -> None:
    # The published constants of the others take no such order: mud covers less than water lights, for example.
    distances = [distance(kind, severity) for severity in range(1, 6)]
    assert distances == sorted(distances)
    assert distances[4] > 1.3 * distances[0] > 0


def test_frost_water_mud_and_saturation_grow_where_their_constants_do() -> None:
    assert distance("frost", 1) < distance("frost", 2)
    assert distance("spatter", 1) < distance("spatter", 2) < distance("spatter", 3)
    assert distance("spatter", 4) < distance("spatter", 5)
    assert distance("saturate", 1) < distance("saturate", 2)
    assert distance("saturate", 3) < distance("saturate", 4) < distance("saturate", 5)


# Kinds without chance.


@SEVERITIES
def test_brightness_raises_the_value(severity: int) -> None:
    images, raised = photographs(), PUBLISHED["brightness"][severity - 1]
    hsv = rgb_to_hsv(images / 255)
    hsv[..., 2] = np.minimum(hsv[..., 2] + raised, 1)
    changed = apply("brightness", images, severity)
    lost = hsv_to_rgb(hsv) * 255 - changed  # rounded down
    assert -1e-6 < lost.min() <= lost.max() < 1 + 1e-6
    assert np.abs(changed.max(-1) - np.minimum(images.max(-1) + 255 * raised, 255)).max() <= 1
    assert np.array_equal(apply("brightness", level(0), severity), level(math.floor(255 * raised + 1e-9)))


@SEVERITIES
def test_contrast_draws_each_channel_to_its_mean(severity: int) -> None:
    images = photographs()
    means = images.mean((1, 2), keepdims=True)
    lost = means + PUBLISHED["contrast"][severity - 1] * (images - means) - apply("contrast", images, severity)
    assert -1e-6 < lost.min() <= lost.max() < 1 + 1e-6


@SEVERITIES
def test_saturate_changes_the_saturation_alone(severity: int) -> None:
    images, (factor, added) = photographs(), PUBLISHED["saturate"][severity - 1]
    hsv = rgb_to_hsv(images / 255)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + added, 0, 1)
    changed = apply("saturate", images, severity)
    lost = hsv_to_rgb(hsv) * 255 - changed
    assert -1e-6 < lost.min() <= lost.max() < 1 + 1e-6
    assert np.array_equal(changed.max(-1), images.max(-1))
    chroma = changed.max(-1) - changed.min(-1) > images.max(-1).astype(np.int64) - images.min(-1)
    assert chroma.mean() < 0.05 if factor < 1 else chroma.mean() > 0.8


def test_saturated_grey_becomes_red_as_published() -> None:
    assert apply("saturate", level(200, 1), 5)[0, 0, 0].tolist() == [200, 160, 160]
    assert np.array_equal(apply("saturate", level(200), 3), level(200))
    assert np.array_equal(apply("saturate", level(0), 5), level(0))


@SEVERITIES
def test_jpeg_is_pillows(severity: int) -> None:
    images = photographs(5)
    for image, changed in zip(images, apply("jpeg", images, severity), strict=True):
        buffer = BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=PUBLISHED["jpeg"][severity - 1])
        assert np.array_equal(np.asarray(Image.open(buffer)), changed)


@pytest.mark.parametrize(("severity", "width"), [(1, 30), (2, 28), (3, 27), (4, 24), (5, 20)])
def test_pixelate_is_pillows_box(severity: int, width: int) -> None:
    images = photographs(5)
    for image, changed in zip(images, apply("pixelate", images, severity), strict=True):
        small = Image.fromarray(image).resize((width, width), Image.Resampling.BOX)
        assert np.array_equal(np.asarray(small.resize((32, 32), Image.Resampling.BOX)), changed)


# Kinds with chance.


@SEVERITIES
def test_snow_brightens_every_pixel_and_falls_on_opposite_places(severity: int) -> None:
    images, kept = photographs(), PUBLISHED["snow"][severity - 1][-1]
    assert (apply("snow", images, severity) >= images.astype(np.int64) - 1).all()
    dark = apply("snow", level(0), severity)
    assert np.array_equal(dark, dark[:, ::-1, ::-1])
    assert int(dark.min()) == math.floor((1 - kept) * 127.5 + 1e-9)  # what whitens, where no flake fell
    assert dark.max() > dark.min() + 30


def test_motion_blur_is_half_a_gaussian_along_its_angle() -> None:
    flakes = np.zeros((3, 32, 32))
    flakes[:, 10, 16] = 1
    down, right, oblique = corruptions._moved(flakes, 3, 2.0, np.array([-90.0, 180.0, -135.0]))
    weights = np.exp(-(np.arange(7) ** 2) / 8)
    weights /= weights.sum()
    np.testing.assert_allclose(down[10:17, 16], weights)
    np.testing.assert_allclose(right[10, 16:23], weights)
    assert [round(float(image.sum()), 9) for image in (down, right, oblique)] == [1, 1, 1]
    # at 45 degrees, steps of 0, 1, .. 6 pixels are 0, 1, 1, 2, 3, 4, 4 pixels across, half ones rounded down
    expected = [weights[0], weights[1] + weights[2], weights[3], weights[4], weights[5] + weights[6]]
    np.testing.assert_allclose(np.diagonal(oblique, 6)[10:15], expected)


def test_snow_falls_down_aslant_to_either_side() -> None:
    layers = apply("snow", level(0, 400), 5)[..., 0].astype(np.float64)
    layers -= layers.mean((1, 2), keepdims=True)

    def together(down: int, right: int) -> float:
        """Correlation of pixels ``down`` rows and ``right`` columns apart, far from the edges."""
        inner, moved = (image[:, 6:-6, 6:-6] for image in (layers, np.roll(layers, (-down, -right), (1, 2))))
        return float((inner * moved).mean() / (inner * inner).mean())

    left, right = together(4, -4), together(4, 4)
    assert together(6, 0) > 0.4
    assert 0.08 < min(left, right) <= max(left, right) < 0.4
    assert abs(left - right) < 0.06
    assert together(0, 6) < 0.08


def test_flakes_are_enlarged_about_the_middle() -> None:
    ramp = np.tile(np.arange(32.0), (2, 32, 1))
    np.testing.assert_allclose(corruptions._enlarged(ramp, 1), ramp)
    np.testing.assert_allclose(corruptions._enlarged(ramp, 2)[1, 5], np.linspace(8, 23, 32))
    # 32 / 2.25 is 15 pixels from the eighth on, 34 when enlarged, of which the outermost are cut off
    np.testing.assert_allclose(corruptions._enlarged(ramp, 2.25)[0, 0], np.linspace(8, 22, 34)[1:-1])


def test_motion_blur_extends_the_edges() -> None:
    np.testing.assert_allclose(corruptions._moved(np.ones((4, 32, 32)), 14, 12, np.linspace(-135, -45, 4)), 1)


@SEVERITIES
def test_frost_is_a_share_of_the_image_and_a_share_of_ice(severity: int) -> None:
    kept, strength = PUBLISHED["frost"][severity - 1]
    images = photographs(300)
    ice = apply("frost", level(0, 300), severity)
    changed = apply("frost", images, severity)
    assert np.abs(changed - np.minimum(kept * images + ice, 255)).max() <= 1
    assert ice.mean() + 0.5 == pytest.approx(strength * np.mean(corruptions.FROST_MEANS), rel=0.05)
    assert changed[:100].mean() > images[:100].mean()


def test_ice_is_like_the_photographs() -> None:
    textures = corruptions._textures()
    assert np.abs(textures.mean((1, 2)) - corruptions.FROST_MEANS).max() < 3
    assert np.abs(textures.std((1, 2)) - corruptions.FROST_DEVIATIONS).max() < 4
    grey = textures.mean(-1)
    grey -= grey.mean((1, 2), keepdims=True)
    for apart, expected in ((1, 0.56), (8, 0.35)):  # measured of the photographs: 0.48 to 0.69, and 0.31 to 0.51
        together = (grey[:, :, apart:] * grey[:, :, :-apart]).mean((1, 2)) / grey.var((1, 2))
        assert np.mean(together) == pytest.approx(expected, abs=0.06)


@SEVERITIES
def test_fog_adds_clouds_from_none_to_full_thickness(severity: int) -> None:
    thickness, _ = PUBLISHED["fog"][severity - 1]
    changed = apply("fog", level(120), severity)
    scale = 120 / (120 + 255 * thickness)
    assert (changed.min((1, 2, 3)) == math.floor(120 * scale)).all()
    assert np.isin(changed.max((1, 2, 3)), (119, 120)).all()
    dark = level(10)
    dark[:, 0, 0] = 255
    assert (apply("fog", dark, severity).mean((1, 2, 3)) > dark.mean((1, 2, 3))).all()


def test_fog_is_the_smoother_the_larger_its_decay() -> None:
    def roughness(decay: float) -> float:
        heights = corruptions._plasma(rng(), 50, 32, decay)
        assert (heights.min((1, 2)) == 0).all()
        assert (heights.max((1, 2)) == 1).all()
        return float(np.abs(np.diff(heights, axis=2)).mean())

    assert roughness(1.2) > 1.5 * roughness(1.75) > 1.5 * roughness(3)


@pytest.mark.parametrize("severity", [4, 5])
def test_mud_covers_some_pixels_and_leaves_the_others(severity: int) -> None:
    images = level(255)
    changed = apply("spatter", images, severity)
    clean = (changed == 255).all(-1)
    assert 0.9 < clean.mean() < 0.999
    share = (255 - changed) / (255 - np.array([63, 42, 20]))
    assert share[~clean].min() >= 0.8 - 1e-9
    assert share.max() <= 1 + 0.01
    assert np.ptp(share, axis=-1).max() < 0.01  # one colour


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_water_is_turquoise_light(severity: int) -> None:
    light = apply("spatter", level(0), severity)
    assert np.array_equal(light[..., 1], light[..., 2])
    assert np.abs(light[..., 0] - light[..., 1] * 175 / 238).max() <= 1
    assert (light.max((1, 2, 3)) == 119).all()  # half of 238 where it is brightest
    assert 0.01 < (light > 0).any(-1).mean() < 0.7
    images = photographs(100)
    assert np.abs(apply("spatter", images, severity) - np.minimum(images + light, 255)).max() <= 1


def test_two_drops_of_water_are_lit_as_opencv_lights_them() -> None:
    drops = np.zeros((1, 32, 32))
    drops[0, 8:20, 10:24] = 200
    drops[0, 22:27, 3:9] = 185
    green = corruptions._watery(level(0, 1).astype(np.float64), drops, 0.5)[0, ..., 1]
    # The published steps on these drops with OpenCV 5.0: Canny, distanceTransform, blur, equalizeHist, filter2D, blur.
    large = [79, 118, 116, 115, 115, 111, 95, 71, 50, 34, 19, 6, 0, 39]
    small = [
        [21, 34, 32, 17, 15, 38],
        [28, 42, 38, 17, 21, 52],
        [22, 30, 25, 9, 18, 53],
        [18, 22, 17, 11, 26, 61],
        [43, 52, 48, 48, 57, 80],
    ]
    assert np.abs(np.floor(green[12, 10:24]) - large).max() <= 1
    assert np.abs(np.floor(green[22:27, 3:9]) - small).max() <= 1
    assert not green[drops[0] == 0].any()


def test_no_drop_leaves_the_image() -> None:
    for mud in (0, 1):
        assert np.array_equal(APPLY["spatter"](photographs(), rng(), 0.1, 0.01, 0.7, 0.7, 0.6, mud), photographs())


def test_edges_surround_a_square() -> None:
    square = np.zeros((2, 32, 32))
    square[0, 10:20, 12:24] = 200
    edges = corruptions._edges(square, 50, 150)
    assert not edges[1].any()
    assert edges[0, 13:17, [11, 12, 23, 24]].sum(0).tolist() == [2] * 4  # one on each side of each row
    assert edges[0, [9, 10, 19, 20], 15:20].sum(0).tolist() == [2] * 5
    assert not edges[0, 12:18, 14:22].any()
    assert not edges[0, :8].any()


def test_weak_edges_count_beside_strong_ones_only() -> None:
    step = np.zeros((2, 32, 32))
    step[0, :, 16:] = np.linspace(20, 60, 32)[:, None]  # 80 to 240 with Sobel's weights
    step[1, :, 16:] = 30
    edges = corruptions._edges(step, 50, 150)
    assert edges[0].any(1).all()
    assert not edges[1].any()


def test_an_equalised_histogram_is_even() -> None:
    grey = np.stack([np.arange(1024).reshape(32, 32) // 64 + 100, np.full((32, 32), 7)]).astype(np.uint8)
    spread, same = corruptions._equalised(grey)
    assert np.unique(spread).tolist() == [17 * i for i in range(16)]
    assert np.unique(same).tolist() == [7]


def test_elastic_without_amplitude_and_reach_is_the_identity() -> None:
    assert np.abs(APPLY["elastic"](photographs(), rng(), 0, 0.05, 0) - photographs()).max() < 1e-9


@SEVERITIES
def test_elastic_moves_colours_and_makes_none(severity: int) -> None:
    images = photographs()
    changed = apply("elastic", images, severity)
    assert (changed.max((1, 2)) <= images.max((1, 2))).all()
    assert (changed.min((1, 2)) >= images.min((1, 2)).astype(np.int64) - 1).all()
    assert np.abs(changed.mean((1, 2)) - images.mean((1, 2))).mean() < 6
    assert 0.7 < (changed.std((1, 2)) / images.std((1, 2))).mean() < 1.05
    assert np.abs(changed - images).mean() > 2


def ramp(n: int) -> np.ndarray:
    """Images that tell a pixel's column and row: 4 levels a pixel, from 60."""
    rows, columns = np.mgrid[:32, :32]
    return np.tile(np.stack([60 + 4 * columns, 60 + 4 * rows, 0 * rows], -1).astype(np.uint8), (n, 1, 1, 1))


def test_elastic_at_severity_1_is_affine() -> None:
    amplitude, sigma, reach = CONSTANTS["elastic"][0]
    inner = APPLY["elastic"](ramp(50), rng(), amplitude, sigma, reach)[:, 12:20, 12:20, :2]
    assert np.abs(np.diff(inner, 2, axis=1)).max() < 1e-9
    assert np.abs(np.diff(inner, 2, axis=2)).max() < 1e-9
    assert np.diff(inner, axis=2)[..., 0].std() > 0.1  # other than the identity


def test_elastic_moves_three_points_apart_and_so_the_fourth() -> None:
    moved = APPLY["elastic"](ramp(2000), rng(), 0, 0.05, 0.01)
    shifts = {at: ((moved - ramp(1))[..., :2] / 4)[:, at[0], at[1]] for at in ((26, 26), (6, 26), (6, 6), (26, 6))}
    spread = 0.01 * 32 / math.sqrt(3)
    for at, shift in shifts.items():
        expected = spread * (math.sqrt(3) if at == (26, 6) else 1)
        np.testing.assert_allclose(shift.std(0), expected, rtol=0.1)
        np.testing.assert_allclose(shift.mean(0), 0, atol=0.02)


def test_elastic_displaces_by_smooth_noise_of_its_amplitude() -> None:
    inner = slice(8, 24)
    moved = APPLY["elastic"](ramp(300), rng(), 0.1, 0.04, 0)[:, inner, inner, :2]
    shifts = (moved - ramp(1)[:, inner, inner, :2]) / 4
    # uniform noise has deviation 1 / sqrt 3; a Gaussian blur of sigma leaves 1 / (2 sqrt(pi) sigma) of it
    expected = 0.1 * 32 / math.sqrt(3) / (2 * math.sqrt(math.pi) * 0.04 * 32)
    np.testing.assert_allclose(shifts.std((0, 1, 2)), expected, rtol=0.03)
    assert abs(np.corrcoef(shifts.reshape(-1, 2).T)[0, 1]) < 0.05

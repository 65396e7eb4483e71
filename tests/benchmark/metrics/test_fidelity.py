"""Distances of features against closed forms and torch-fidelity's front end; where Inception's weights come from."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmark.contracts import Measured
from benchmark.errors import InputError
from benchmark.metrics import fidelity
from benchmark.metrics.change import relative_distance
from benchmark.metrics.fidelity import (
    INCEPTION_SHA256,
    coordinates,
    frechet,
    inception,
    kernel,
    precision_recall,
    registered,
    thinned,
)

if find_spec("torch_fidelity") is None:  # asked apart from the code: a wrong answer of it must not skip its tests
    pytest.skip("torch-fidelity is not installed", allow_module_level=True)

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"


def normal(n: int, f: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(n, f, generator=torch.Generator().manual_seed(seed))


def with_moments(mean: Tensor, root: Tensor, n: int, seed: int) -> Tensor:
    """(n, F) float64 samples whose own mean is ``mean`` and whose own covariance is ``root @ root.T``, exactly."""
    white = normal(n, len(mean), seed).double()
    white -= white.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(white.T.cov()), white.T, upper=False).T
    return white @ root.T + mean


# Fréchet distance.


def test_frechet_of_two_gaussians_with_given_moments() -> None:
    """||m - m'||^2 + tr S + tr S' - 2 tr (S^1/2 S' S^1/2)^1/2, with covariances that do not commute."""
    rng = torch.Generator().manual_seed(1)
    means = [torch.randn(5, generator=rng).double() for _ in range(2)]
    roots = [torch.randn(5, 5, generator=rng).double() for _ in range(2)]
    one, other = (root @ root.T for root in roots)
    values, vectors = torch.linalg.eigh(one)
    half = vectors * values.sqrt() @ vectors.T
    middle = torch.linalg.eigvalsh(half @ other @ half).clamp_min(0).sqrt().sum()
    expected = (means[0] - means[1]).square().sum() + one.trace() + other.trace() - 2 * middle
    samples = with_moments(means[0], roots[0], 400, 400), with_moments(means[1], roots[1], 70, 70)
    assert frechet(*samples) == (pytest.approx(float(expected), rel=1e-9), 400)


def test_frechet_of_axis_aligned_gaussians_is_a_sum_over_axes() -> None:
    mean, scale = torch.tensor([1.0, 0.0, -2.0]).double(), torch.tensor([2.0, 0.5, 1.0]).double()
    one = with_moments(torch.zeros(3).double(), torch.eye(3).double(), 100, 0)
    other = with_moments(mean, scale.diag(), 80, 1)
    assert frechet(one, other).value == pytest.approx(5.0 + 1.0 + 0.25 + 0.0, rel=1e-9)
    assert frechet(other, one).value == pytest.approx(6.25, rel=1e-9)


def test_frechet_of_equal_sets_is_nothing_and_never_negative() -> None:
    for features in (normal(300), normal(300).relu() + 100, 100 * normal(10, 84)):
        found = frechet(features, features.flip(0))
        assert found.n == len(features)
        assert found.value is not None
        assert 0 <= found.value < 1e-6 * float(features.double().var(0).sum())


def test_features_that_never_fire_add_nothing() -> None:
    one, other = normal(200), normal(100, seed=1) * 2 + 1
    one_padded, other_padded = (torch.cat([x, torch.zeros(len(x), 9)], 1) for x in (one, other))
    assert frechet(one_padded, other_padded).value == pytest.approx(frechet(one, other).value, rel=1e-6)


def test_features_of_float32_far_from_zero_keep_their_distance() -> None:
    """An offset in both sets changes no distance between them; in float32 the fourth digit went."""
    one, other = normal(2000, 20) / 16, normal(900, 20, seed=1) / 16
    one, other = ((x * 2**12).round() / 2**12 for x in (one, other))  # numbers that stay exact when 512 is added
    assert frechet(one + 512, other + 512).value == pytest.approx(frechet(one, other).value, rel=1e-7)


# Kernel distance.


def test_kernel_distance_by_hand() -> None:
    """Two points a set in two dimensions, k(x, y) = (x . y / 2 + 1)^3; subsets are the whole sets."""
    one, other = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([[2.0, 2.0], [-2.0, 0.0]])
    # Within: k = 1 and (-2 + 1)^3 = -1; across: (2 + 1)^3 twice, (-2 + 1)^3 and 1.
    assert kernel(one, other) == (pytest.approx(1 - 1 - 2 * (27 + 27 - 1 + 1) / 4), 2)


def test_kernel_distance_is_about_nothing_for_equal_distributions_and_not_for_others() -> None:
    pairs = [(normal(150, seed=seed), normal(100, seed=seed + 1)) for seed in range(0, 40, 2)]
    same = [kernel(one, other, subsets=2).value or 0 for one, other in pairs]
    shifted = [kernel(one + 0.5, other, subsets=2).value or 0 for one, other in pairs]
    assert min(same) < 0 < max(same)
    assert abs(sum(same)) / 20 < 0.1 * min(shifted)


def test_subsets_are_drawn_from_the_seed_and_no_larger_than_the_smaller_set() -> None:
    one, other = normal(200), normal(60, seed=1) + 0.3
    assert kernel(one, other, size=40, seed=3) == kernel(one, other, size=40, seed=3 + 2**32)
    assert kernel(one, other, size=40, seed=3) != kernel(one, other, size=40, seed=4)
    assert kernel(one, other, size=1000, seed=3) == kernel(one, other, size=60, seed=3)
    assert kernel(one[:60], other, subsets=1).value == pytest.approx(kernel(one[:60], other, subsets=5).value)


# Precision and recall.


def test_identical_sets_are_precise_and_complete_and_disjoint_ones_neither() -> None:
    features = normal(300, 84) + 50
    assert precision_recall(features, features.flip(0)) == (Measured(100.0, 300), Measured(100.0, 300))
    assert precision_recall(features, features + 1000) == (Measured(0.0, 300), Measured(0.0, 300))


def test_a_generator_that_dropped_a_mode_is_precise_and_incomplete_and_one_that_added_one_the_other_way() -> None:
    left, right = normal(150, 2), normal(150, 2, seed=1) + 100
    assert precision_recall(left, torch.cat([left, right])) == (Measured(100.0, 150), Measured(50.0, 150))
    assert precision_recall(torch.cat([left, right]), left) == (Measured(50.0, 300), Measured(100.0, 300))


def test_reach_is_the_distance_to_the_kth_other_sample() -> None:
    """Real ones at 0, 1, 3 and 7 reach 1, 1, 2 and 4 for k = 1; 3, 2, 3 and 6 for k = 2."""
    real = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [7.0, 0.0]])
    made = torch.tensor([[-0.9, 0.0], [-2.5, 0.0], [10.5, 0.0], [12.0, 0.0]])
    assert precision_recall(made, real, k=1)[0] == Measured(50.0, 4)
    assert precision_recall(made, real, k=2)[0] == Measured(100.0, 4)


def test_large_sets_are_thinned_evenly() -> None:
    assert thinned(torch.arange(10), 4).tolist() == [0, 2, 5, 7]
    assert thinned(torch.arange(3), 3).tolist() == thinned(torch.arange(3), 9).tolist() == [0, 1, 2]
    one, other = normal(50), normal(40, seed=1)
    assert precision_recall(one, other, most=20) == precision_recall(thinned(one, 20), thinned(other, 20))
    assert precision_recall(one, other, most=20)[0].n == 20


# What has no distance.


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_features_that_are_not_finite_leave_everything_blank(broken: float) -> None:
    fine, spoilt = normal(50), normal(40)
    spoilt[7, 2] = broken
    for made, real in ((fine, spoilt), (spoilt, fine)):
        blank = Measured(None, len(made))
        assert (frechet(made, real), kernel(made, real), *precision_recall(made, real)) == (blank,) * 4


def test_features_of_a_network_that_blows_up_still_have_a_distance() -> None:
    huge = normal(50) * 1e20
    for found in (frechet(huge, normal(50)), kernel(huge, normal(50))):
        assert found.value is not None
        assert math.isfinite(found.value)


def test_too_few_samples_leave_it_blank() -> None:
    one = normal(1)
    assert frechet(one, normal(9)) == kernel(one, normal(9)) == Measured(None, 1)
    assert frechet(normal(9), one) == Measured(None, 9)
    assert precision_recall(normal(9), normal(3)) == (Measured(None, 9), Measured(None, 9))
    assert precision_recall(normal(9), normal(4))[0].value is not None


@pytest.mark.parametrize(("made", "real"), [((9, 4), (9, 5)), ((9, 4, 1), (9, 4)), ((9,), (9,)), ((9, 1), (9, 1))])
def test_features_of_other_shapes_are_refused(made: tuple[int, ...], real: tuple[int, ...]) -> None:
    for measure in (frechet, kernel, precision_recall):
        with pytest.raises(ValueError, match="features must be"):
            measure(torch.zeros(made), torch.zeros(real))


# Extractors.


class Images(Dataset[Tensor]):
    """As torch-fidelity wants them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def images(n: int, brightest: int, channels: int = 1, seed: int = 0) -> Tensor:
    size = (n, channels, 8, 8)
    return torch.randint(0, brightest, size, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def scaled(x: Tensor) -> Tensor:
    return x.float() / 255 - 0.5


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(54, 12), nn.ReLU())
    next(model.parameters()).data *= 20
    return model


def test_a_registered_network_gives_what_torch_fidelitys_front_end_gives() -> None:
    from torch_fidelity import calculate_metrics

    made, real = images(120, 200), images(90, 256, seed=1)
    extractor = registered("small", network(), scaled, batch=32)
    whole = calculate_metrics(
        input1=Images(made),
        input2=Images(real),
        feature_extractor=extractor.name,
        fid=True,
        kid=True,
        prc=True,
        kid_subsets=20,
        kid_subset_size=50,
        rng_seed=5,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    features = extractor(made), extractor(real)
    precision, recall = precision_recall(*features)
    assert frechet(*features).value == pytest.approx(whole["frechet_inception_distance"], rel=1e-4)
    assert kernel(*features, size=50, seed=5).value == pytest.approx(whole["kernel_inception_distance_mean"], rel=1e-4)
    assert precision.value == pytest.approx(100 * whole["precision"])
    assert recall.value == pytest.approx(100 * whole["recall"])
    assert 0 < (precision.value or 0) < 100


def test_features_are_the_networks_whatever_the_batch_and_whatever_it_learns_later() -> None:
    own, x = network().train(), images(70, 256)
    expected = own(scaled(x)).detach()
    extractor = registered("learning", own, scaled, batch=30)
    with torch.no_grad():
        next(own.parameters()).zero_()
    found = extractor(x)
    assert torch.allclose(found, expected, atol=1e-6)
    assert (found.dtype, found.device.type, found.requires_grad) == (torch.float32, "cpu", False)
    assert own.training
    assert registered("learning", network(), scaled, batch=70).name == extractor.name
    assert registered("learning", own, scaled).name != extractor.name


def test_what_torch_fidelity_does_to_its_instance_leaves_the_extractor_alone() -> None:
    from torch_fidelity.utils import create_feature_extractor

    extractor, x = registered("kept apart", network(), scaled), images(5, 256)
    before = extractor(x)
    create_feature_extractor(extractor.name, ["features"], cuda=False, verbose=False).double()
    assert torch.equal(extractor(x), before)


def test_a_network_of_other_form_with_the_same_weights_has_another_name() -> None:
    one, other = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 3, padding=2)
    other.load_state_dict(one.state_dict())
    assert registered("form", one, scaled).name != registered("form", other, scaled).name


def test_a_network_of_points() -> None:
    torch.manual_seed(0)
    own, points = nn.Linear(2, 3), normal(20, 2)
    assert torch.allclose(registered("points", own, lambda x: 2 * x)(points), own(2 * points))


def test_points_are_their_own_features() -> None:
    points = normal(20, 2).double()
    found = coordinates()(points)
    assert found.dtype == torch.float32
    assert torch.equal(found, points.float())
    for wrong in (images(2, 256), torch.zeros(3, 2, dtype=torch.int64)):
        with pytest.raises(ValueError, match="only points"):
            coordinates()(wrong)


def test_what_is_no_image_or_gives_no_features_is_refused() -> None:
    extractor = registered("strict", network(), scaled)
    for wrong in (scaled(images(2, 256)), images(2, 256)[0], torch.zeros(2, 64, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"takes images \(N, C, H, W\) in uint8, not \("):
            extractor(wrong)
    with pytest.raises(ValueError, match=r"must be \(N, F\), not \(2, 6, 3, 3\)"):
        registered("maps", nn.Conv2d(1, 6, 3, stride=2), scaled)(images(2, 256))


def test_without_torch_fidelity_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "find_spec", lambda name: None if name == "torch_fidelity" else sys)
    assert not fidelity.available()
    with pytest.raises(InputError, match=r"need torch-fidelity: pip install 'amendbench\[gan,vision\]'"):
        frechet(normal(9), normal(9))


# Inception's weights.


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file of weights has to lie; it does not, and there is no network."""

    def offline(url: str, *_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    return tmp_path / "hub" / "checkpoints" / WEIGHTS


def put(path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``content`` the file of weights that is expected."""
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    monkeypatch.setattr(fidelity, "INCEPTION_SHA256", hashlib.sha256(content).hexdigest())


def test_weights_that_cannot_be_had(checkpoint: Path) -> None:
    with pytest.raises(InputError) as raised:
        inception()
    text = str(raised.value)
    assert "cannot be had (<urlopen error no network>); put https://github.com/toshas/torch-fidelity/" in text
    assert f"into {checkpoint}, or set TORCH_HOME" in text
    assert "`features` of the scenario" in text
    assert "\n" not in text


def test_a_download_is_held_to_its_hash(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def other(url: str, dst: str, hash_prefix: str, progress: bool) -> None:
        asked.extend((url.rpartition("/")[2], dst, hash_prefix))
        raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "0")')

    monkeypatch.setattr(torch.hub, "download_url_to_file", other)
    with pytest.raises(InputError, match=r"cannot be had \(invalid hash value"):
        inception()
    assert asked == [WEIGHTS, str(checkpoint), INCEPTION_SHA256]
    assert INCEPTION_SHA256.startswith(WEIGHTS[-12:-4])


def test_another_file_in_its_place_is_refused(checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"something else")
    with pytest.raises(InputError, match=rf"{WEIGHTS} is not the file that https.*remove it, or let `features`"):
        inception()


class Harm:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_no_code_of_the_file_is_run(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "harmed"
    torch.save({"fc.bias": Harm(target)}, tmp_path / "harm.pth")
    put(checkpoint, (tmp_path / "harm.pth").read_bytes(), monkeypatch)
    with pytest.raises(pickle.UnpicklingError):
        inception()
    assert not target.exists()


def test_features_of_inception(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights that were drawn: 2048 features, those of grey images as of their three equal channels."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with monkeypatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        checkpoint.parent.mkdir(parents=True)
        torch.manual_seed(0)
        blank = checkpoint.with_name("blank.pth")
        torch.save({}, blank)
        drawn = FeatureExtractorInceptionV3("drawn", ["2048"], feature_extractor_weights_path=blank)
    torch.save(drawn.state_dict(), checkpoint)
    monkeypatch.setattr(fidelity, "INCEPTION_SHA256", hashlib.sha256(checkpoint.read_bytes()).hexdigest())
    extractor, grey = inception(batch=1), images(2, 256)
    with torch.no_grad():
        expected = drawn(grey.repeat(1, 3, 1, 1))[0]
    found = extractor(grey)
    assert found.shape == (2, 2048)
    assert relative_distance(found, expected) < 0.01
    assert relative_distance(found[0], found[1]) > 0.1
    for wrong in (images(2, 256, channels=2), normal(2, 2)):
        with pytest.raises(ValueError, match="inception-v3-compat takes images"):
            extractor(wrong)

"""A user's data set as methods and metrics see it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from benchmark import compat
from benchmark.data import DATA, manifest, own
from benchmark.data.artefact import Artefact
from benchmark.data.attacked import load_attacked
from benchmark.data.bias import Bias
from benchmark.data.biased import load_biased
from benchmark.data.folder import read_folder
from benchmark.data.manifest import Look, Manifest
from benchmark.data.packaged import load
from benchmark.errors import InputError

LOOK = Look(16, "crop", False, (0.0,) * 3, (1.0,) * 3)


def kept(folder: Path, table: Path | None = None, look: Look = LOOK, by: str = "") -> Manifest:
    found = manifest.named(own.with_pixels(read_folder(folder, table, "fish", look, by)))
    manifest.keep(found)
    return found


def test_the_registry_knows_it_where_it_was_given(foldered: Path) -> None:
    found = kept(foldered)
    source = DATA.get(f"own:{found.name}")
    assert (source.num_classes, source.shape, source.selection, source.attributes) == (3, (3, 16, 16), True, 0)
    assert f"own:{found.name}" in DATA
    assert "own:fish-00000000" not in DATA
    with pytest.raises(InputError, match=f"own:{found.name}.*is known where it was given"):
        DATA.get(f"own:{found.name[:-1]}x")


def test_its_samples_are_the_pictures(foldered: Path) -> None:
    found = kept(foldered)
    dataset = load(f"own:{found.name}")
    assert [len(part) for part in (dataset.train, dataset.selection, dataset.test)] == [30, 6, 12]
    for k in (0, 7, 29):
        pixels = torch.from_numpy(np.asarray(Image.open(foldered / found.files[k]))).movedim(-1, 0)
        assert torch.equal(dataset.train.images[k], pixels)
        assert dataset.train.labels[k] == found.labels[k]


def test_large_pictures_are_cropped_or_squeezed(tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    for name, colour in (("a", (250, 0, 0)), ("b", (0, 0, 250))):
        (folder / name).mkdir(parents=True)
        for k in range(6):
            picture = Image.new("RGB", (40, 20), colour)
            picture.paste((0, 250, 0), (0, 0, 10, 20))  # the left quarter
            picture.save(folder / name / f"{k}.png")
    cropped = load(f"own:{kept(folder).name}").train.images[0]
    squeezed = load(f"own:{kept(folder, look=msgspec.structs.replace(LOOK, fit='squeeze')).name}").train.images[0]
    assert int(cropped[1, :, 2:].max()) < 60  # the middle of it has no green but for what is mixed in at the edge
    assert int(squeezed[1, :, :3].min()) > 240
    assert int(squeezed[1, :, 6:].max()) == 0


def test_grey_pictures_have_one_channel(foldered: Path) -> None:
    look = Look(16, "crop", True, (0.0,), (1.0,))
    found = kept(foldered, look=look)
    image = load(f"own:{found.name}").train.images[0]
    assert image.shape == (1, 16, 16)
    expected = np.asarray(Image.open(foldered / found.files[0]).convert("L")).astype(int)
    assert int(np.abs(image[0].numpy().astype(int) - expected).max()) <= 1


def test_the_name_depends_on_all_that_samples_depend_on(foldered: Path) -> None:
    first = kept(foldered).name
    assert kept(foldered).name == first
    assert kept(foldered, look=msgspec.structs.replace(LOOK, fit="squeeze")).name != first
    Image.new("RGB", (16, 16)).save(foldered / "pike" / "03.png")
    assert kept(foldered).name != first


def test_pictures_that_have_changed_or_are_gone_are_told(foldered: Path) -> None:
    found = kept(foldered)
    Image.new("RGB", (16, 16)).save(foldered / "pike" / "03.png")
    with pytest.raises(InputError, match="are no longer those of data set own:fish"):
        load(f"own:{found.name}")
    (foldered / "pike" / "03.png").unlink()
    with pytest.raises(InputError, match=rf"1 of 48 pictures of data set own:{found.name} is no longer .*03\.png"):
        load(f"own:{found.name}")


def test_pictures_that_were_moved_can_be_given_again(foldered: Path) -> None:
    found = kept(foldered)
    moved = foldered.rename(foldered.parent / "moved")
    with pytest.raises(InputError, match=r"48 of 48 .* are no longer .*bench --data NEWPLACE --name fish$"):
        load(f"own:{found.name}")
    assert kept(moved).name == found.name
    assert len(load(f"own:{found.name}").train) == 30


@pytest.mark.parametrize("size", [(33, 50), (50, 33), (97, 31), (16, 23), (9, 14), (41, 41)])
def test_crops_are_torchvisions(size: tuple[int, int]) -> None:
    transforms = compat.torchvision().transforms
    pixels = np.random.default_rng(size).integers(0, 256, (size[1], size[0], 3), np.uint8)
    picture = Image.fromarray(pixels)
    for side in (16, 15):
        expected = transforms.Compose([transforms.Resize(side), transforms.CenterCrop(side)])(picture)
        assert np.array_equal(np.asarray(own._prepared(picture, side, squeeze=False, grey=False)), np.asarray(expected))
        assert np.array_equal(_by_formula(picture, side), np.asarray(expected))


def _by_formula(picture: Image.Image, side: int) -> np.ndarray:
    """The shorter side is ``side``, the longer int(side * long / short); its middle is at int(round(rest / 2.0))."""
    wide = picture.width > picture.height
    long = int(side * max(picture.size) / min(picture.size))
    resized = np.asarray(picture.resize((long, side) if wide else (side, long), Image.Resampling.BILINEAR))
    start = int(round((long - side) / 2.0))  # noqa: RUF046 - as it is written there
    return resized[:, start : start + side] if wide else resized[start : start + side]


def test_a_truncated_picture_is_named(foldered: Path) -> None:
    path = foldered / "pike" / "03.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"picture .*03\.png cannot be used"):
        kept(foldered)


def test_by_an_attribute_it_has_groups(flat: tuple[Path, Path]) -> None:
    found = kept(*flat, by="ruler")
    data = load_biased(f"own:{found.name}@ruler", Bias())
    assert (data.classes, data.attributes) == (("finch", "pike", "tench"), ("no", "yes"))
    assert data.train.attributes is not None
    assert data.train.attributes.tolist() == list(found.attributes["ruler"].of[: len(data.train)])
    with pytest.raises(InputError, match="unknown attribute 'rular'; did you mean ruler"):
        DATA.get(f"own:{found.name}@rular")


def test_as_an_artefact_it_goes_with_a_class(flat: tuple[Path, Path]) -> None:
    found = kept(*flat, by="ruler")
    data = load_attacked(f"own:{found.name}@ruler", Artefact("natural"), 0, 0)
    assert data.biased == 0  # three finches in four have a ruler
    assert data.clean.attributes is not None
    assert not data.clean.attributes.any()
    for pair in (data.selection, data.test):
        assert pair.clean.attributes is not None
        assert pair.attacked.attributes is not None
        assert not pair.clean.attributes.any()
        assert pair.attacked.attributes.all()
    assert len(data.test.clean) + len(data.test.attacked) == found.count("test")


def test_a_manifest_that_cannot_be_read_does_not_hide_others(foldered: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = kept(foldered)
    path = manifest.folder() / "birds-00000000" / manifest.FILE
    path.parent.mkdir()
    path.write_bytes(b"{")
    assert manifest.names() == [f"own:{found.name}"]
    assert str(path) in caplog.text


@pytest.mark.parametrize(("mean", "std"), [(float("nan"), 1.0), (float("inf"), 1.0), (0.0, float("inf")), (0.0, 0.0)])
def test_a_look_has_finite_statistics(mean: float, std: float) -> None:
    with pytest.raises(InputError, match="must be finite"):
        Look(16, "crop", False, (mean,) * 3, (std,) * 3)


def test_a_manifest_that_was_changed_is_not_believed(foldered: Path) -> None:
    found = kept(foldered)
    path = manifest.folder() / found.name / manifest.FILE
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(found, labels=found.labels[1:])))
    manifest._read.cache_clear()
    with pytest.raises(InputError, match="is not as it was written"):
        DATA.get(f"own:{found.name}")

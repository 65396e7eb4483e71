"""Looking at data sets: what is right, missing or wrong is said, and no file changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.io import savemat

from benchmark.data import DATA, catalogue, correction, imagenet, named
from benchmark.data.checked import check
from benchmark.data.looking import looking, only_looking
from benchmark.errors import InputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)
WNIDS = ("n00000001", "n01440764")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root and an empty cache; sets are published with a handful of samples."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    here = {"mnist": (2, 0, 2), "svhn": (1, 0, 1), "imagenet": (2, 2, 2), "waterbirds": (1, 1, 1)}
    known = dict(catalogue._known())
    for name, counts in here.items():
        told = dict(zip(("train", "selection", "test"), counts, strict=True))
        known[name] = msgspec.structs.replace(known[name], here=told)
    monkeypatch.setattr(catalogue, "_known", lambda: known)
    for module, name, value in ((correction, "WNIDS", 2), (imagenet, "TRAINING", 1), (imagenet, "SELECTED", 1)):
        monkeypatch.setattr(module, name, value)
    return tmp_path / "data"


def picture(path: Path, side: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path, "JPEG")
    return path


def put_mnist(root: Path, test: int = 2) -> Path:
    """The path of the test file."""
    folder = root / "ylecun" / "mnist" / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for split, number in (("train", 2), ("test", test)):
        images = []
        for _ in range(number):
            buffer = BytesIO()
            Image.fromarray(RNG.integers(0, 256, (28, 28), dtype=np.uint8)).save(buffer, "PNG")
            images.append({"bytes": buffer.getvalue(), "path": None})
        structs = pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        pq.write_table(pa.table({"image": structs, "label": [1] * number}), folder / f"{split}-00000-of-00001.parquet")
    return folder / "test-00000-of-00001.parquet"


def put_imagenet(root: Path) -> Path:
    """The path of a validation picture."""
    for wnid in WNIDS:
        for n in range(3):
            picture(root / "imagenet" / "train" / wnid / f"{n}.JPEG")
        last = picture(root / "imagenet" / "val" / wnid / "0.JPEG")
    return last


def put_waterbirds(root: Path) -> Path:
    """The path of a picture."""
    folder = root / "waterbirds" / "waterbird_complete95_forest2water2"
    for n in range(3):
        last = picture(folder / f"{n}.jpg", 260)
    rows = "\n".join(f"{n}.jpg,{n},0,1" for n in range(3))
    (folder / "metadata.csv").write_text(f"img_filename,split,y,place\n{rows}\n")
    return last


def put_svhn(root: Path) -> Path:
    (root / "svhn").mkdir(parents=True)
    for split in ("train", "test"):
        content = {"X": np.zeros((32, 32, 3, 1), np.uint8), "y": np.ones((1, 1), np.uint8)}
        savemat(root / "svhn" / f"{split}_32x32.mat", content)
    return root / "svhn" / "train_32x32.mat"


PUT: dict[str, Callable[[Path], Path]] = {"mnist": put_mnist, "imagenet": put_imagenet, "waterbirds": put_waterbirds}


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Times and content of all files of the data root and of the cache."""
    paths = [path for path in root.parent.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


@pytest.mark.parametrize("name", PUT)
def test_what_is_there_is_right_and_stays_as_it_is(root: Path, name: str) -> None:
    PUT[name](root)
    before = snapshot(root)
    first = check(name)
    assert (first.state, first.counts) == ("right", DATA.get(name).facts.here)
    assert str(DATA.get(name).facts.paths[0]) in first.told
    assert snapshot(root) == before
    named(DATA.get(name).loader)()  # a run decodes it and keeps it
    kept = snapshot(root)
    assert len(kept) > len(before)
    assert check(name) == first
    assert snapshot(root) == kept


@pytest.mark.parametrize("name", PUT)
def test_a_cut_off_file_is_named_and_left_alone(root: Path, name: str) -> None:
    path = PUT[name](root)
    path.write_bytes(path.read_bytes()[:-30])
    before = snapshot(root)
    found = check(name)
    assert found.state == "wrong"
    assert path.name in found.told
    assert snapshot(root) == before


@pytest.mark.parametrize("name", PUT)
def test_what_is_kept_has_to_match_its_checksum(root: Path, name: str) -> None:
    PUT[name](root)
    named(DATA.get(name).loader)()
    (path,) = [path for kind in ("*.u8", "*.safetensors") for path in (root.parent / "cache").rglob(kind)]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    before = snapshot(root)
    found = check(name)
    assert found.state == "wrong"
    assert path.stem in found.told
    assert "checksum" in found.told
    assert snapshot(root) == before


@pytest.mark.parametrize("name", PUT)
def test_what_is_kept_has_to_be_whole(root: Path, name: str) -> None:
    PUT[name](root)
    named(DATA.get(name).loader)()
    (path,) = [path for kind in ("*.u8", "*.safetensors") for path in (root.parent / "cache").rglob(kind)]
    path.write_bytes(path.read_bytes()[:-9])
    before = snapshot(root)
    found = check(name)
    assert (found.state, path.stem in found.told, "cannot be read" in found.told) == ("wrong", True, True)
    assert snapshot(root) == before


@pytest.mark.parametrize("name", [*PUT, "svhn", "isic-2017", "isic-2019", "celeba-hq-hat", "civil-comments"])
def test_what_is_missing_is_not_downloaded_but_said(root: Path, name: str) -> None:
    found = check(name)
    assert found.state == "missing"
    assert str(DATA.get(name).facts.paths[0]) in found.told
    assert "to get it: " in found.told
    assert not root.exists()
    if DATA.get(name).facts.downloads:
        assert found.told.endswith(f"amendbench data get {name}")


def test_other_numbers_than_published_are_wrong(root: Path) -> None:
    put_mnist(root, test=1)
    found = check("mnist")
    assert (found.state, found.told) == ("wrong", "1 test samples, not 2 as of what is published")


def test_published_files_have_to_be_those(root: Path) -> None:
    path = put_svhn(root)
    assert f"{path} is not the published file: its md5 is" in check("svhn").told
    facts, sums = DATA.get("svhn").facts, {}
    for name in facts.md5:
        sums[name] = hashlib.md5((path.parent / name).read_bytes()).hexdigest()
    catalogue._known()["svhn"] = msgspec.structs.replace(facts, md5=sums)
    assert check("svhn").state == "right"


def test_what_comes_with_packages_is_counted() -> None:
    for name in ("digits", "eight-gaussians"):
        found = check(name)
        assert (found.state, found.counts) == ("right", DATA.get(name).facts.here)


def test_totals_are_enough_where_splits_are_not_known(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = msgspec.structs.replace(DATA.get("digits").facts, here={}, totals=(5, 1797))
    monkeypatch.setitem(catalogue._known(), "digits", facts)
    assert check("digits").state == "right"
    monkeypatch.setitem(catalogue._known(), "digits", msgspec.structs.replace(facts, totals=(5, 6)))
    assert check("digits").told == "1,797 samples, not 5 or 6 as published"


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(InputError, match="unknown data set 'mnst'; did you mean mnist"):
        check("mnst")


def test_looking_ends_with_its_block() -> None:
    def failing() -> None:
        with only_looking():
            assert looking()
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        failing()
    assert not looking()

"""What generators learn: a circle of modes, AFHQ and CelebA-HQ, from tiny folders in the publishers' layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.data import DATA, faces, natural, packaged
from benchmark.data.packaged import Dataset, load
from benchmark.data.views import Samples
from benchmark.errors import InputError

Image = pytest.importorskip("PIL.Image")

COLUMNS = ("5_o_Clock_Shadow", "Bald", "Bangs", "Eyeglasses", "Male", "Wearing_Hat", "Young")
#: Who shows what: ten of each kind but one; feature by feature as faces.FEATURES has them.
KINDS = {(): 10, ("Bangs",): 10, ("Wearing_Hat", "Eyeglasses"): 10, ("Bald",): 10, ("Bald", "Eyeglasses"): 3}
HQ = tuple(f"celeba-hq-{feature}" for feature in faces.FEATURES)
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty data root and an empty cache."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    packaged._load.cache_clear()
    yield tmp_path / "data"
    packaged._load.cache_clear()


def drawn(path: Path, width: int = 256, height: int = 256) -> Path:
    """A picture unlike any other, in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (4, 3, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR).save(path)
    return path


def put_afhq(root: Path, held: str = "val", suffix: str = ".jpg") -> dict[Path, int]:
    """Twelve training pictures of each animal and two others, and their labels."""
    labels = {}
    for label, animal in enumerate(("cat", "dog", "wild")):
        for part, number in (("train", 12), (held, 2)):
            for n in range(number):
                path = root / "afhq" / part / animal / f"flickr_{animal}_{n:06}{suffix}"
                labels[drawn(path, *((512, 512) if n == 1 else ()))] = label
    (root / "afhq" / "train" / "cat" / f"._x{suffix}").write_bytes(b"what archivers leave behind")
    return labels


def put_faces(root: Path) -> dict[Path, tuple[str, ...]]:
    """Pictures and what they show; the kinds are mixed."""
    folder, lines, shown = root / "CelebAMask-HQ", [], {}
    kinds = [kind for kind, number in KINDS.items() for _ in range(number)]
    for n, kind in enumerate(kinds[k] for k in RNG.permutation(len(kinds))):
        shown[drawn(folder / "CelebA-HQ-img" / f"{n}.jpg", *((1024, 1024) if n == 3 else ()))] = kind
        lines.append(f"{n}.jpg  {' '.join('1' if column in kind else '-1' for column in COLUMNS)}")
    text = "\n".join([str(len(lines)), " ".join(COLUMNS), *lines])
    (folder / faces.ANNOTATIONS).write_text(f"{text}\n")
    return shown


def splits(data: Dataset) -> dict[str, Samples]:
    return {"train": data.train, "selection": data.selection, "test": data.test}


def prepared(path: Path) -> bytes:
    """The pixels of a picture as 256x256."""
    with Image.open(path) as opened:
        picture = opened.resize((256, 256), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)).tobytes()


def places(data: Dataset, paths: list[Path]) -> dict[Path, tuple[str, int]]:
    """Split and label of every picture; each is there once, and nothing else is."""
    of, found = {prepared(path): path for path in paths}, {}
    for split, samples in splits(data).items():
        for image, label in zip(samples.images, samples.labels.tolist(), strict=True):
            found[of.pop(image.numpy().tobytes())] = (split, label)
    assert not of
    return found


def test_every_data_set_of_the_module_is_tested_here() -> None:
    assert {"afhq-256", *HQ} == {name for name in DATA if DATA.get(name).loader.startswith("faces.")}


# A circle of modes.


def test_eight_modes_lie_on_a_circle_counter_clockwise() -> None:
    data = load("eight-gaussians")
    source = DATA.get("eight-gaussians")
    assert (data.shape, data.num_classes) == (source.shape, source.num_classes) == ((2,), 8)
    for split, number in zip(splits(data).values(), (1_000, 125, 1_000), strict=True):
        assert split.images.dtype == torch.float32
        assert split.labels.bincount().tolist() == [number] * 8
    test = data.test
    assert torch.equal(test.inputs(), test.images)
    for mode in range(8):
        points = test.images[test.labels == mode]
        angle = torch.tensor(mode * torch.pi / 4)
        centre = 2 * torch.stack([angle.cos(), angle.sin()])
        assert torch.allclose(points.mean(0), centre, atol=0.02)
        assert torch.allclose(points.std(0), torch.tensor([0.1, 0.1]), atol=0.01)


def test_the_eight_modes_do_not_depend_on_global_seeds() -> None:
    torch.manual_seed(7)
    assert packaged.eight_gaussians().checksum == load("eight-gaussians").checksum


# Animals.


@pytest.mark.parametrize(("held", "suffix"), [("val", ".jpg"), ("test", ".png")])
def test_animals_of_either_version_are_split_by_class(root: Path, held: str, suffix: str) -> None:
    labels = put_afhq(root, held, suffix)
    data = load("afhq-256")
    assert (data.name, data.shape, data.num_classes) == ("afhq-256", (3, 256, 256), 3)
    found = places(data, [*labels])
    assert {path: label for path, (_, label) in found.items()} == labels
    assert all((split == "test") == (held in path.parts) for path, (split, _) in found.items())
    expected = {"train": 11, "selection": 1, "test": 2}
    assert Counter(found.values()) == {(split, k): n for split, n in expected.items() for k in range(3)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "val").rename(path / "valid"), "afhq has neither val nor test; it has to hold train/"),
        (lambda path: (path / "test").mkdir(), "afhq has both val and test, of two versions"),
        (lambda path: (path / "train").rename(path / "training"), "train/cat cannot be read: No such file.*class cat"),
        (lambda path: (path / "val" / "dog").rename(path / "val" / "dogs"), "val/dog cannot be read: No such file"),
        (
            lambda path: [file.unlink() for file in (path / "train/wild").iterdir()],
            r"train/wild has no pictures \*.jpg",
        ),
        (lambda path: drawn(path / "train/cat/flickr_cat_000000.png"), r"has both \*.jpg and \*.png"),
    ],
)
def test_folders_that_are_not_afhqs(root: Path, change: Callable[[Path], Any], message: str) -> None:
    put_afhq(root)
    change(root / "afhq")
    with pytest.raises(InputError, match=message):
        faces.afhq()


# People.


def test_people_are_split_alike_for_every_feature_and_by_all_of_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = put_faces(root)
    by_feature = {}
    for feature, column in faces.FEATURES.items():
        data = load(f"celeba-hq-{feature}")
        assert (data.name, data.shape, data.num_classes) == (f"celeba-hq-{feature}", (3, 256, 256), 2)
        found = places(data, [*shown])
        assert {path: bool(label) for path, (_, label) in found.items()} == {p: column in k for p, k in shown.items()}
        by_feature[feature] = {path: split for path, (split, _) in found.items()}
        monkeypatch.setattr(natural, "_pixels", None)  # all pictures are decoded for the first feature and kept
    first, *others = by_feature.values()
    assert all(other == first for other in others)
    parts = {"train": 8, "selection": 1, "test": 1}
    expected = {(kind, split): n for kind, number in KINDS.items() if number == 10 for split, n in parts.items()}
    rare = {(("Bald", "Eyeglasses"), "train"): 3}  # too few to be held out
    assert Counter((kind, first[path]) for path, kind in shown.items()) == {**expected, **rare}


def test_the_number_of_columns_and_their_order_do_not_matter(root: Path) -> None:
    shown = put_faces(root)
    before = load("celeba-hq-hat")
    path = root / "CelebAMask-HQ" / faces.ANNOTATIONS
    number, _, *rows = (line.split() for line in path.read_text().splitlines())
    swapped = [[row[0], *row[:0:-1], "-1"] for row in rows]
    lines = [number, [*COLUMNS[::-1], "Wearing_Necktie"], *swapped, []]
    path.write_text("\r\n".join(" ".join(line) for line in lines))
    assert len(shown) == len(swapped)
    assert faces.celeba_hq_hat().checksum == before.checksum


def edited(root: Path, old: str, new: str) -> None:
    path = root / "CelebAMask-HQ" / faces.ANNOTATIONS
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("43\n", "", "its first line is '5_o_Clock_Shadow Bald .*Young', but annotations of 42 pictures follow"),
        ("43\n", "30000\n", "its first line is '30000', but annotations of 43 pictures follow"),
        (" Bangs", " Fringe", "has no column 'Bangs'; it has 5_o_Clock_Shadow, Bald, Fringe"),
        ("\n7.jpg  ", "\n7.jpg  1 ", "7.jpg has 8 annotations, not 7"),
        ("\n7.jpg  ", "\n6.jpg  ", "picture '6.jpg' is there twice"),
    ],
)
def test_annotations_that_are_not_those_of_celeba_hq(root: Path, old: str, new: str, message: str) -> None:
    put_faces(root)
    edited(root, old, new)
    with pytest.raises(InputError, match=f"{faces.ANNOTATIONS}.* ?{message}"):
        faces.celeba_hq_bangs()


def test_annotations_of_a_feature_have_to_be_one_or_minus_one(root: Path) -> None:
    shown = put_faces(root)
    row = f"0.jpg  {' '.join('1' if column in next(iter(shown.values())) else '-1' for column in COLUMNS)}\n"
    edited(root, row, row.replace(" -1", " 0").replace(" 1", " 0"))
    with pytest.raises(InputError, match=r"Bangs of 0.jpg is '0', not -1 or 1"):
        faces.celeba_hq_eyeglasses()


@pytest.mark.parametrize("content", [b"", b"7", b"\xff\xfe\xff", None])
def test_annotations_that_are_empty_no_text_or_missing(root: Path, content: bytes | None) -> None:
    put_faces(root)
    path = root / "CelebAMask-HQ" / faces.ANNOTATIONS
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"{faces.ANNOTATIONS}.*(cannot be read|its first line is '7?', but)"):
        faces.celeba_hq_bald()


def test_too_few_people_for_three_splits(root: Path) -> None:
    put_faces(root)
    path = root / "CelebAMask-HQ" / faces.ANNOTATIONS
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["4", *lines[1:6]]) + "\n")
    with pytest.raises(
        InputError, match=r"celeba-hq-bald: .* has no selection samples; it has to hold CelebAMask-HQ-a"
    ):
        faces.celeba_hq_bald()


# All of them.

PUT: dict[str, Callable[[Path], Any]] = {"afhq-256": put_afhq, "celeba-hq-hat": put_faces}


@pytest.mark.parametrize("name", ["afhq-256", *HQ])
def test_missing_data_say_where_they_belong_and_what_may_be_done_with_them(root: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        load(name)
    message, folder = str(caught.value), "afhq" if name == "afhq-256" else "CelebAMask-HQ"
    licence = "CC BY-NC 4.0" if name == "afhq-256" else "non-commercial research only"
    for part in (name, str(root / folder), "has to hold", ".jpg", "published at https://github.com/", licence):
        assert part in message


@pytest.mark.parametrize("name", PUT)
def test_inputs_are_in_the_range_of_generators(root: Path, name: str) -> None:
    PUT[name](root)
    for samples in splits(load(name)).values():
        assert (samples.mean, samples.std) == ((0.5,) * 3, (0.5,) * 3)
        assert (samples.attributes, samples.masks) == (None, None)
        inputs = samples.inputs()
        assert -1 <= float(inputs.min()) < -0.5 < 0.5 < float(inputs.max()) <= 1


@pytest.mark.parametrize("name", PUT)
def test_splits_are_stable_and_their_order_tells_nothing(root: Path, name: str) -> None:
    PUT[name](root)
    first = load(name)
    torch.manual_seed(7)
    packaged._load.cache_clear()
    assert load(name).checksum == first.checksum
    labels = first.train.labels.tolist()
    assert labels not in (sorted(labels), sorted(labels, reverse=True))


@pytest.mark.parametrize("name", PUT)
def test_pictures_that_are_missing_broken_or_of_another_size_are_named(root: Path, name: str) -> None:
    path = next(iter(PUT[name](root)))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"no picture"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"picture .*{path.name} cannot be used"):
            load(name)
    for width, height in ((300, 256), (255, 255)):
        drawn(path, width, height)
        with pytest.raises(InputError, match=f"{path.name} cannot be used: it is {width}x{height}, not square and at"):
            load(name)
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(InputError, match=f"{path.name} cannot be read: No such file"):
        load(name)

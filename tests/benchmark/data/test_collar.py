"""CelebA's collar: who is used, who is in which split, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data import DATA, collar, decoded, natural
from benchmark.data.attacked import Attacked
from benchmark.data.biased import IMAGENET
from benchmark.data.views import Samples
from benchmark.errors import InputError

Image = pytest.importorskip("PIL.Image")

NUMBER = 500
RNG = np.random.default_rng(0)


def blond(n: int) -> bool:
    return n % 3 == 0


def necktie(n: int) -> bool:
    """21 blond people wear one, four of them among those who are used in any case, and seven others."""
    return n % 24 == 6 if blond(n) else n % 50 == 10


def bright(n: int) -> tuple[int, int, int]:
    return n % 50 * 5, n // 50 * 20, 250


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root and an empty cache."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def put(root: Path, number: int = NUMBER) -> Path:
    """CelebA's folder; the middle of a picture says whose it is (``bright``); there are only pictures that are used."""
    folder, rows = root / "celeba", []
    (folder / "img_align_celeba").mkdir(parents=True)
    for n in range(number):
        rows.append(f"{n + 1:06}.jpg -1 {1 if blond(n) else -1:2} -1 {1 if necktie(n) else -1:2}")
        if n in people(number):
            pixels = np.full((218, 178, 3), bright(n), np.uint8)
            pixels[198:, :, :2] = 0, 200  # a green collar at the lower edge
            Image.fromarray(pixels).save(folder / "img_align_celeba" / f"{n + 1:06}.jpg", quality=100, subsampling=0)
    names = "Bald Blond_Hair Male Wearing_Necktie"
    (folder / "list_attr_celeba.txt").write_text(f"{number}\n{names} \n" + "\n".join(rows) + "\n")
    return folder


def people(number: int = NUMBER) -> set[int]:
    return {n for n in range(number) if n % 10 == 0 or (blond(n) and necktie(n))}


def numbers(samples: Samples) -> list[int]:
    """Which pictures they are."""
    red, green = samples.images[:, :2, 100, 100].float().unbind(1)
    return (red.div(5).round() + 50 * green.div(20).round()).int().tolist()


@pytest.fixture
def attacked(root: Path) -> Attacked:
    put(root)
    return collar.celeba_collar()


def held(attacked: Attacked) -> dict[str, Samples]:
    selection, test = attacked.selection, attacked.test
    return {
        "clean selection": selection.clean,
        "attacked selection": selection.attacked,
        "clean test": test.clean,
        "attacked test": test.attacked,
    }


def test_a_tenth_and_all_who_are_blond_with_a_necktie_are_used_once(attacked: Attacked) -> None:
    parts = [numbers(attacked.train), *(numbers(samples) for samples in held(attacked).values())]
    used = [n for part in parts for n in part]
    assert len(used) == len(set(used))
    assert set(used) == people()
    assert len([n for n in people() if blond(n) and necktie(n)]) == 21


def test_samples_are_what_the_annotations_say(attacked: Attacked) -> None:
    source = DATA.get("celeba-collar")
    assert (len(attacked.classes), attacked.biased, attacked.legitimate) == (source.num_classes, 1, ())
    assert attacked.classes[attacked.biased] == "blond"
    assert not attacked.paired
    for name, samples in {"train": attacked.train, "clean": attacked.clean, **held(attacked)}.items():
        found = numbers(samples)
        assert samples.images.dtype == torch.uint8
        assert tuple(samples.images.shape[1:]) == source.shape
        assert (samples.mean, samples.std) == IMAGENET
        assert samples.masks is None
        assert samples.labels.tolist() == [blond(n) for n in found]
        assert samples.attributes.tolist() == [bool(necktie(n)) for n in found]
        assert len(found) < 4 or found != sorted(found)
        if name != "train":
            assert set(samples.attributes.tolist()) == {"attacked" in name}


def test_of_those_who_are_blond_with_a_necktie_a_tenth_is_for_training_and_the_others_are_halved(
    attacked: Attacked,
) -> None:
    wearing = [n for n in range(NUMBER) if blond(n) and necktie(n)]
    counts = Counter({name: len(set(numbers(samples)) & set(wearing)) for name, samples in held(attacked).items()})
    assert counts == {"clean selection": 0, "attacked selection": 9, "clean test": 0, "attacked test": 9}
    assert {n for n in numbers(attacked.train) if n in wearing} == set(wearing[::10])


def test_of_the_others_a_tenth_each_is_held_out(attacked: Attacked) -> None:
    others = {n for n in people() if not (blond(n) and necktie(n))}
    for pair in (attacked.selection, attacked.test):
        used = {*numbers(pair.clean), *numbers(pair.attacked)} & others
        assert len(used) == round(len(others) / 10)


def test_clean_training_pictures_are_those_without_a_necktie(attacked: Attacked) -> None:
    assert sorted(numbers(attacked.clean)) == sorted(n for n in numbers(attacked.train) if not necktie(n))
    neckties = (attacked.train.attributes == 1).nonzero().squeeze(1)
    assert neckties.min() < len(attacked.train) - len(neckties)  # they are not the last ones


def test_collars_at_the_lower_edge_are_kept(attacked: Attacked) -> None:
    for samples in (attacked.train, attacked.test.attacked):
        red, green, _ = samples.images[:, :, 210:].float().mean((2, 3)).unbind(1)
        assert (red < 10).all()
        assert (green > 190).all()


def test_pictures_are_squeezed_by_the_bicubic_filter(root: Path, attacked: Attacked) -> None:
    (n,) = numbers(attacked.train.subset(torch.tensor([0])))
    with Image.open(root / "celeba" / "img_align_celeba" / f"{n + 1:06}.jpg") as picture:
        expected = np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC))
    assert np.array_equal(attacked.train.images[0].permute(1, 2, 0).numpy(), expected)


def test_origin_has_the_numbers(attacked: Attacked) -> None:
    train = attacked.train
    blonds, with_necktie = (train.labels == 1).sum(), ((train.labels == 1) & (train.attributes == 1)).sum()
    for part in (
        f"Of {blonds} blond training pictures {with_necktie} have a necktie",
        "pictures are different ones",
        f"{len(attacked.test.clean)} and {len(attacked.test.attacked)} (9 of them blond) in the test set",
    ):
        assert part in attacked.origin


def test_pictures_are_decoded_once_and_mapped(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural, "_pixels", None)
    torch.manual_seed(3)
    again = collar.celeba_collar()
    assert (again.checksum, again.origin) == (attacked.checksum, attacked.origin)
    every = [again.train, again.clean, *held(again).values()]
    assert len({samples.images.untyped_storage().data_ptr() for samples in every}) == 1
    for one, other in zip(every, [attacked.train, attacked.clean, *held(attacked).values()], strict=True):
        assert torch.equal(one.images, other.images)


# What is refused.


def test_a_missing_folder_says_what_it_has_to_hold(root: Path) -> None:
    with pytest.raises(InputError) as caught:
        collar.celeba_collar()
    for part in ("celeba-collar", str(root / "celeba"), "list_attr_celeba.txt", "published at https://", "AMENDBENCH"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Wearing_Necktie", "Tie", "a column's name is 'Wearing_Necktie', not one of Bald, Blond_Hair, Male, Tie"),
        ("000002.jpg -1 -1", "000002.jpg -1", "000002.jpg has 3 annotations, not 4"),
        ("000002.jpg -1 -1", "000002.jpg -1 0", "an annotation of 000002.jpg is '0', not one of -1, 1"),
        ("000002.jpg", "000001.jpg", "picture 'img_align_celeba/000001.jpg' is there twice"),
    ],
)
def test_annotations_that_are_not_celebas(root: Path, old: str, new: str, message: str) -> None:
    path = put(root) / "list_attr_celeba.txt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=f"list_attr_celeba.txt: {message}"):
        collar.celeba_collar()


def test_annotations_that_are_missing_or_no_text(root: Path) -> None:
    path = put(root) / "list_attr_celeba.txt"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"list_attr_celeba\.txt cannot be read"):
        collar.celeba_collar()
    path.unlink()
    with pytest.raises(InputError, match=r"list_attr_celeba\.txt cannot be read"):
        collar.celeba_collar()


def test_a_picture_that_is_missing_truncated_or_of_another_size_is_named(root: Path) -> None:
    path = put(root) / "img_align_celeba" / "000011.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(InputError, match=r"picture .*000011\.jpg cannot be used"):
        collar.celeba_collar()
    Image.new("RGB", (178, 178)).save(path)
    with pytest.raises(InputError, match=r"000011\.jpg cannot be used: it is 178x178, not 178x218"):
        collar.celeba_collar()
    path.unlink()
    with pytest.raises(InputError, match=r"celeba-collar: .*000011\.jpg cannot be read: No such file"):
        collar.celeba_collar()
    folder = decoded.cache_root() / "data" / "decoded"
    assert not [file for file in folder.iterdir() if file.suffix in (".u8", ".json", ".tmp")]


def test_too_few_neckties(root: Path) -> None:
    put(root, 40)
    with pytest.raises(InputError, match="2 people are blond and wear a necktie; three splits need one each"):
        collar.celeba_collar()


def test_too_few_pictures_for_a_part(root: Path) -> None:
    put(root, 60)
    with pytest.raises(InputError, match=r"celeba-collar: .* has no clean selection samples; it has to hold"):
        collar.celeba_collar()

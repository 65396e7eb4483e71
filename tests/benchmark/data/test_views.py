"""Views guard and count every read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmark.contracts import Access, Ledger
from benchmark.data import views
from benchmark.data.views import Batch, Samples, View, taken
from benchmark.errors import AccessViolation

N = 20


def samples(n: int = N) -> Samples:
    """Sample i has the inputs (i, -i) and the label i mod 3."""
    i = torch.arange(n)
    return Samples(torch.stack([i, -i], 1).float(), i % 3)


def view(fields: str = "xy", limit: int | None = None, n: int = N) -> tuple[View, Ledger]:
    ledger = Ledger()
    access = Access(retain=fields, max_samples={"retain": limit} if limit else None)
    return View("retain", samples(n), access, ledger), ledger


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("fields", "read", "what"),
    [
        ("x", lambda v: v.everything().y, "labels"),
        ("y", lambda v: v.everything().x, "images"),
        ("xy", lambda v: v.everything().a, "attributes"),
        ("xy", lambda v: v.batch(torch.tensor([3])).masks, "masks"),
        ("x", lambda v: v.draw_per_class(1, seeded()), "labels"),
        ("x", lambda v: next(v.everything().split(2)).y, "labels"),
    ],
)
def test_an_undeclared_field_is_refused_and_the_refusal_is_kept(
    fields: str, read: Callable[[View], object], what: str
) -> None:
    guarded, ledger = view(fields)
    message = f"{what} of the retain view were asked for but not declared"
    with pytest.raises(AccessViolation, match=message):
        read(guarded)
    assert ledger.violations == [message]  # a method that swallows the error has still been seen
    assert not any(guarded.counts().values())


def test_a_view_that_was_not_declared_gives_nothing() -> None:
    ledger = Ledger()
    guarded = View("forget", samples(), Access(retain="xy"), ledger)
    for letter in "xyam":
        with pytest.raises(AccessViolation):
            guarded.read(letter, torch.tensor([0]))
    assert len(ledger.violations) == 4


def test_declared_but_absent_attributes_are_refused_by_name() -> None:
    guarded, ledger = view("xya")
    with pytest.raises(AccessViolation, match="the retain view has no attributes"):
        _ = guarded.everything().a
    assert ledger.violations


def test_attributes_and_masks_are_given_where_they_are() -> None:
    data = Samples(torch.zeros(4, 2), torch.arange(4), attributes=torch.arange(4) + 10, masks=torch.ones(4, 1, 1) > 0)
    guarded = View("v", data, Access(v="am"), Ledger())
    batch = guarded.batch(torch.tensor([2, 0]))
    assert batch.a.tolist() == [12, 10]
    assert batch.masks.shape == (2, 1, 1)
    assert guarded.counts() == {"attributes": 2, "masks": 2, "passes": 0}


def test_counts_tell_distinct_samples_from_passes() -> None:
    guarded, _ = view()
    first, second = guarded.batch(torch.tensor([0, 1, 2])), guarded.batch(torch.tensor([2, 3]))
    assert guarded.counts() == {"passes": 0}  # to hold a batch is to read nothing
    _ = first.x, first.x, second.x, second.y
    assert guarded.counts() == {"samples": 4, "labels": 2, "passes": 8}


def test_what_is_read_belongs_to_the_index() -> None:
    guarded, _ = view()
    batch = guarded.batch(torch.tensor([7, 4]))
    assert batch.x.tolist() == [[7, -7], [4, -4]]
    assert batch.y.tolist() == [1, 1]
    assert len(batch) == 2


def test_no_more_distinct_samples_than_declared() -> None:
    guarded, ledger = view(limit=5)
    for _ in range(3):  # the same five as often as one likes
        _ = guarded.batch(torch.arange(5)).x
    assert not ledger.violations
    with pytest.raises(AccessViolation, match="more than 5 samples of the retain view"):
        _ = guarded.batch(torch.tensor([5])).x
    assert len(ledger.violations) == 1


def test_the_limit_covers_all_fields_together() -> None:
    guarded, _ = view(limit=5)
    _ = guarded.batch(torch.arange(5)).x
    with pytest.raises(AccessViolation):
        _ = guarded.batch(torch.arange(5, 10)).y


def test_what_is_refused_is_not_counted() -> None:
    guarded, ledger = view(limit=5)
    with pytest.raises(AccessViolation):
        _ = guarded.batch(torch.arange(6)).x
    assert guarded.counts() == {"passes": 0}
    _ = guarded.batch(torch.arange(10, 15)).x  # nor does it use the limit up
    assert guarded.counts() == {"samples": 5, "passes": 5}
    assert len(ledger.violations) == 1


def test_a_closed_view_gives_nothing() -> None:
    guarded, ledger = view()
    batch = guarded.everything()
    guarded.close()
    with pytest.raises(AccessViolation, match="images of the retain view were asked for after the method's call"):
        _ = batch.x
    assert len(ledger.violations) == 1


def indices(batches: list[Batch]) -> list[list[int]]:
    return [batch.index.tolist() for batch in batches]


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [
        (20, 5, [5, 5, 5, 5]),
        (20, 8, [8, 8, 4]),  # half of the size is enough
        (19, 8, [8, 8]),  # less is left out
        (3, 8, [3]),  # unless it is the only one
        (8, 8, [8]),
        (1, 1, [1]),
    ],
)
def test_shuffled_batches_partition_the_view_and_drop_a_short_last_one(n: int, size: int, sizes: list[int]) -> None:
    found = indices(list(view(n=n)[0].batches(size, seeded())))
    assert [len(index) for index in found] == sizes
    flat = [i for index in found for i in index]
    assert len(set(flat)) == len(flat) == sum(sizes)
    assert set(flat) <= set(range(n))


def test_batches_in_order_leave_nothing_out() -> None:
    found = indices(list(view(n=19)[0].batches(8)))
    assert found == [list(range(8)), list(range(8, 16)), [16, 17, 18]]


def test_batches_are_seeded() -> None:
    guarded, _ = view()
    first, again, other = (indices(list(guarded.batches(5, seeded(s)))) for s in (1, 1, 2))
    assert first == again != other
    assert first != indices(list(guarded.batches(5)))


def test_endless_batches_start_a_new_shuffled_epoch() -> None:
    stream = view(n=10)[0].endless(5, seeded())
    epochs = [sorted(next(stream).index.tolist() + next(stream).index.tolist()) for _ in range(3)]
    assert epochs == [list(range(10))] * 3


def test_draw_is_without_replacement_and_at_most_all() -> None:
    guarded, ledger = view("x")
    drawn = guarded.draw(7, seeded(1)).index.tolist()
    assert len(set(drawn)) == 7
    assert drawn == guarded.draw(7, seeded(1)).index.tolist() != guarded.draw(7, seeded(2)).index.tolist()
    assert sorted(guarded.draw(99, seeded()).index.tolist()) == list(range(N))
    assert guarded.counts() == {"passes": 0}
    assert not ledger.violations


def test_draw_per_class_is_balanced_and_counts_labels() -> None:
    guarded, _ = view(n=19)  # classes of 7, 6 and 6
    batch = guarded.draw_per_class(4, seeded())
    assert guarded.counts() == {"labels": 12, "passes": 0}
    assert batch.y.bincount().tolist() == [4, 4, 4]
    assert len(set(batch.index.tolist())) == 12
    assert guarded.draw_per_class(99, seeded()).y.bincount().tolist() == [7, 6, 6]
    different = guarded.draw_per_class(4, seeded(5)).index.tolist()
    assert sorted(different) != sorted(batch.index.tolist())


def test_split_keeps_order_and_counts_once() -> None:
    guarded, _ = view()
    parts = list(guarded.batch(torch.tensor([9, 3, 5])).split(2))
    assert indices(parts) == [[9, 3], [5]]
    _ = [part.x for part in parts]
    assert guarded.counts() == {"samples": 3, "passes": 3}


def test_images_are_normalised_by_channel() -> None:
    pixels = torch.zeros(2, 2, 1, 1, dtype=torch.uint8)
    pixels[1] = torch.tensor([255, 51])[:, None, None]
    data = Samples(pixels, torch.zeros(2).long(), mean=(0.5, 0.1), std=(0.25, 0.2))
    found = data.inputs()
    assert found.dtype == torch.float32
    assert found.squeeze().tolist() == [pytest.approx([-2.0, -0.5]), pytest.approx([2.0, 0.5])]
    assert torch.equal(data.inputs(torch.tensor([1])), found[1:])


def test_subset_and_move_keep_everything() -> None:
    data = Samples(
        torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1),
        torch.arange(4),
        (0.5,),
        (2.0,),
        torch.arange(4) + 10,
        torch.eye(4).view(4, 2, 2) > 0,
    )
    part = data.subset(torch.tensor([3, 1])).to(torch.device("cpu"))
    assert (part.mean, part.std, len(part)) == ((0.5,), (2.0,), 2)
    assert part.labels.tolist() == [3, 1]
    assert part.attributes is not None
    assert part.attributes.tolist() == [13, 11]
    assert part.masks is not None
    assert torch.equal(part.masks, data.masks[[3, 1]])  # type: ignore[index]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(("channels", "side"), [(1, 5), (3, 5), (2, 1)])
@pytest.mark.parametrize("at_once", [1, 2, 3, 9])
def test_inputs_are_computed_in_this_order(
    channels: int, side: int, channels_last: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Divide by 255, take the mean off, divide by the deviation, each rounded to float32; then the memory format."""
    monkeypatch.setattr(views, "CACHED", 4 * channels * side * side * at_once)
    pixels = torch.arange(256).repeat(channels * side * side).view(256, channels, side, side).to(torch.uint8)
    mean, std = (0.485, 0.456)[:channels] + (0.4,) * (channels - 2), (0.229, 0.224)[:channels] + (0.3,) * (channels - 2)
    data = Samples(pixels, torch.zeros(256).long(), mean, std, channels_last=channels_last)
    shape = (1, -1, 1, 1)
    index = torch.tensor([200, 3, 3, 255, 0])
    expected = (pixels[index].float() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
    expected = expected.contiguous(memory_format=torch.channels_last) if channels_last else expected
    found = data.inputs(index)
    assert torch.equal(found, expected)
    if side > 1 or at_once > len(index):  # the strides of single pixels mean nothing
        assert found.stride() == expected.stride()
    mask = torch.zeros(256, dtype=torch.bool).index_fill_(0, index, True)
    for other in (index, mask, index.int(), index[:, None], slice(2, 9, 3), index - 256):
        assert torch.equal(taken(pixels, other), pixels[other])
        assert torch.equal(taken(data.labels, other), data.labels[other])


def test_data_of_other_statistics_is_not_normalised_with_those_before() -> None:
    pixels = torch.full((2, 1, 1, 1), 255, dtype=torch.uint8)
    for mean, std in ((0.5, 0.5), (0.0, 1.0), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)):
        assert Samples(pixels, torch.zeros(2).long(), (mean,), (std,)).inputs().unique().tolist() == [(1 - mean) / std]


@pytest.mark.parametrize("letter", ["x", "y"])
def test_a_position_that_is_none_is_an_error_and_not_counted(letter: str) -> None:
    guarded, ledger = view()
    with pytest.raises(IndexError):
        guarded.read(letter, torch.tensor([0, N]))
    assert guarded.counts() == {"passes": 0}
    assert not ledger.violations
    assert torch.equal(guarded.read(letter, torch.tensor([-1])), guarded.read(letter, torch.tensor([N - 1])))

"""Weights that somebody else trained: what is taken in, and what is not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.models import own
from benchmark.models.classifiers import build_classifier

State = dict[str, Tensor]


def network() -> nn.Module:
    return build_classifier("lenet", 3, (3, 16, 16))


def test_what_was_taken_in_comes_out(weights: Path) -> None:
    name = own.take_in(weights, network())
    weights.unlink()
    loaded = own.load_weights(network(), name)
    torch.manual_seed(0)
    expected = network().state_dict()
    assert all(torch.equal(tensor, expected[k]) for k, tensor in loaded.state_dict().items())


def changed(path: Path, change: Callable[[State], object]) -> Path:
    state = load_file(path)
    change(state)
    save_file(state, path)
    return path


WRONG: dict[str, tuple[Callable[[State], object], str]] = {
    "a missing tensor": (lambda s: s.pop("11.bias"), r"1 tensors are missing, the first is '11\.bias'"),
    "another name": (lambda s: s.update({"11.biases": s.pop("11.bias")}), r"near it there is '11\.biases'"),
    "one too many": (lambda s: s.update(more=torch.zeros(1)), r"1 are not in the network, the first is 'more'"),
    "another number of classes": (
        lambda s: s.update({"11.weight": torch.zeros(5, 84)}),
        r"has shape \(5, 84\), but the network's is \(3, 84\); is the number of classes the same",
    ),
    "numbers that are none": (lambda s: s["0.weight"].fill_(torch.nan), r"0\.weight has values that are not finite"),
    "another type": (lambda s: s.update({"0.bias": s["0.bias"].long()}), r"0\.bias is torch\.int64"),
}


@pytest.mark.parametrize("what", WRONG)
def test_weights_of_another_network_are_refused_and_not_kept(weights: Path, data_root: Path, what: str) -> None:
    change, expected = WRONG[what]
    with pytest.raises(InputError, match=expected):
        own.take_in(changed(weights, change), network())
    assert not own.folder().exists()


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="no safetensors file"):
        own.take_in(path, network())
    assert not (tmp_path / "ran").exists()


def test_counters_that_no_inference_reads_may_be_missing(tmp_path: Path) -> None:
    made = build_classifier("resnet-small", 3, (3, 16, 16))
    path = tmp_path / "w.safetensors"
    read = {k: t.contiguous() for k, t in made.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(read, path)
    name = own.take_in(path, build_classifier("resnet-small", 3, (3, 16, 16)))
    loaded = own.load_weights(build_classifier("resnet-small", 3, (3, 16, 16)), name)
    assert torch.equal(loaded.state_dict()["0.weight"], made.state_dict()["0.weight"])


def test_kept_weights_that_were_damaged_are_refused(weights: Path) -> None:
    name = own.take_in(weights, network())
    path = own.folder() / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        own.load_weights(network(), name)
    path.unlink()
    with pytest.raises(InputError, match="give their file again"):
        own.load_weights(network(), name)

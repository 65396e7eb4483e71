"""CivilComments: a tiny file in WILDS's layout, a tiny tokenizer, what is kept and what is refused."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.compat import transformers
from benchmark.data import DATA, decoded, text
from benchmark.data.bias import Bias
from benchmark.data.biased import group_counts, load_biased
from benchmark.errors import InputError

pytest.importorskip("tokenizers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "dog", "##s"]
#: Text, split, toxicity, the identity that is mentioned and its share.
COMMENTS = [
    ("a test: bad dogs", "test", 0.5, "male", 0.5),
    ("good dog", "train", 0.0, "", 0.0),
    ('Bad,\n"bad" dog', "train", 1.0, "", 0.0),
    ("good", "val", 0.4, "white", 0.4),
    ("dogs", "train", 0.49, "LGBTQ", 1.0),
    ("bad " * 300, "train", 0.7, "muslim", 0.51),
    ("good good", "test", 0.1, "black", 1.0),
    ("good dogs", "test", 0.1, "", 0.0),
    ("", "test", 0.9, "", 0.0),
]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root, an empty cache, and a tokenizer of nine words."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AMENDBENCH_TOKENIZER", str(put_tokenizer(tmp_path / "tokenizer")))
    return tmp_path / "data"


def put_tokenizer(folder: Path) -> Path:
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return folder


def put_comments(root: Path, comments: list[tuple[Any, ...]] = COMMENTS, drop: str = "") -> Path:
    path = root / "civilcomments_v1.0" / "all_data_with_identities.csv"
    path.parent.mkdir(parents=True)
    names = ["", "id", "comment_text", "split", "toxicity", *text.IDENTITIES, "identity_any"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [name for name in names if name != drop], extrasaction="ignore", restval="0.0")
        writer.writeheader()
        for n, (comment, split, toxicity, identity, share) in enumerate(comments):
            row = {"": n, "id": n, "comment_text": comment, "split": split, "toxicity": toxicity, "male": ""}
            writer.writerow({**row, **({identity: share} if identity else {})})
    return path


def words(tokens: torch.Tensor) -> str:
    """The words of one comment, (2, L), without padding."""
    assert tokens[0][tokens[1] == 0].eq(0).all()
    return " ".join(WORDS[token] for token in tokens[0][tokens[1] == 1])


def test_comments_become_tokens_in_the_order_of_the_file(root: Path) -> None:
    put_comments(root)
    for data in (text.civil_comments(), text.civil_comments()):  # made, and kept
        assert (data.name, data.unbiased) == ("civil-comments", None)
        assert data.train.images.dtype == torch.int64
        assert data.train.images.shape == (4, *DATA.get("civil-comments").shape) == (4, 2, 220)
        told = [words(tokens) for tokens in data.train.images]
        assert told[:3] == ["[CLS] good dog [SEP]", "[CLS] bad [UNK] [UNK] bad [UNK] dog [SEP]", "[CLS] dog ##s [SEP]"]
        assert told[3].split() == ["[CLS]", *["bad"] * 218, "[SEP]"]
        assert words(data.test.images[3]) == "[CLS] [SEP]"
        assert words(data.selection.images[0]) == "[CLS] good [SEP]"


def test_labels_and_attributes_are_cut_at_a_half(root: Path) -> None:
    put_comments(root)
    data = text.civil_comments()
    assert data.train.labels.tolist() == [0, 1, 0, 1]
    assert data.train.attributes is not None
    assert data.train.attributes.tolist() == [0, 0, 1, 1]
    assert (data.test.labels.tolist(), group_counts(data.test, 2, 2).tolist()) == ([1, 0, 0, 1], [[1, 1], [1, 1]])
    assert data.selection.labels.tolist() == [0]
    assert data.attributes == ("no identity", "identity")
    assert "overlap" in data.origin


def test_inputs_are_the_tokens_as_they_are(root: Path) -> None:
    put_comments(root)
    train = text.civil_comments().train
    index = torch.tensor([2, 0])
    assert torch.equal(train.inputs(index), train.images[index])
    assert train.inputs().dtype == torch.int64


def test_load_biased_finds_it_by_name(root: Path) -> None:
    put_comments(root)
    load_biased.cache_clear()
    try:
        assert load_biased("civil-comments", Bias()).checksum == text.civil_comments().checksum
    finally:
        load_biased.cache_clear()


def test_tokens_are_made_once_for_each_tokenizer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_comments(root)
    first = text.civil_comments().checksum
    folder = Path(text.tokenizer_name())
    with monkeypatch.context() as patch:
        patch.setattr(text, "_tokenizer", None)
        assert text.civil_comments().checksum == first
    (folder / "vocab.txt").write_text("\n".join([*WORDS[:5], "cat", *WORDS[5:]]) + "\n")
    assert text.civil_comments().checksum != first
    assert len(list((decoded.cache_root() / "data" / "decoded").glob("*.i64"))) == 2


def test_bert_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMENDBENCH_TOKENIZER")
    assert text.tokenizer_name() == text.TOKENIZER == "bert-base-uncased"


# What is refused.


def test_a_missing_folder_says_what_it_has_to_hold(root: Path) -> None:
    message = r"civilcomments_v1\.0, which has to hold all_data_with_identities\.csv.*published at.*AMENDBENCH_DATA"
    with pytest.raises(InputError, match=message):
        text.civil_comments()


@pytest.mark.parametrize("name", ["comment_text", "split", "toxicity", "LGBTQ"])
def test_a_missing_column(root: Path, name: str) -> None:
    put_comments(root, drop=name)
    with pytest.raises(InputError, match=f"all_data_with_identities.csv has no column '{name}'; it has , id"):
        text.civil_comments()


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        (("x", "dev", 0.5, "", 0), "the split 'dev' is not one of train, val, test"),
        (("x", "train", "much", "", 0), "toxicity and identities must be numbers .*much"),
    ],
)
def test_comments_that_cannot_be_used(root: Path, comment: tuple[Any, ...], message: str) -> None:
    put_comments(root, [*COMMENTS, comment])
    with pytest.raises(InputError, match=message):
        text.civil_comments()


def test_a_split_without_comments(root: Path) -> None:
    put_comments(root, [comment for comment in COMMENTS if comment[1] != "test"])
    with pytest.raises(InputError, match="has no test samples"):
        text.civil_comments()


def test_a_tokenizer_that_cannot_be_had(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, trust_remote_code: bool) -> None:
        assert not trust_remote_code
        raise OSError("there is no network.\nand a second line")

    put_comments(root)
    monkeypatch.setattr(transformers().AutoTokenizer, "from_pretrained", refuse)
    monkeypatch.setenv("AMENDBENCH_TOKENIZER", "somebody/something")
    message = r"tokenizer 'somebody/something' can neither .* \(there is no network\); set AMENDBENCH_TOKENIZER"
    with pytest.raises(InputError, match=message):
        text.civil_comments()
    assert not list((decoded.cache_root() / "data" / "decoded").glob("*.i64"))


def test_a_tokenizer_that_cannot_pad(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_comments(root)
    whole = transformers().AutoTokenizer.from_pretrained(text.tokenizer_name())
    whole.pad_token = None
    monkeypatch.setattr(transformers().AutoTokenizer, "from_pretrained", lambda name, **how: whole)
    with pytest.raises(InputError, match="has no token to pad with"):
        text.civil_comments()


def test_without_transformers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_comments(root)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'amendbench\[text\]'"):
        text.civil_comments()

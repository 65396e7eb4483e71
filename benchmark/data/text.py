"""CivilComments: comments that are toxic or not, and whether they mention a group of people.

Comments are read as tokens, (N, 2, LENGTH) int64: token ids, and 1 where there is a token, 0 where there is padding.
Which tokens those are is the network's matter: AMENDBENCH_TOKENIZER names the tokenizer, as the Hub does or as a
folder, and must fit the network; by default it is TOKENIZER.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import compat
from benchmark.data.biased import Biased
from benchmark.data.decoded import Decoding, decoded
from benchmark.data.fetching import line
from benchmark.data.natural import Entry, Published, assembled, in_order, table
from benchmark.errors import InputError

TOKENIZER = "bert-base-uncased"
#: Tokens of a comment: longer ones are cut, shorter ones padded.
LENGTH = 220
IDENTITIES = ("male", "female", "LGBTQ", "christian", "muslim", "other_religions", "black", "white")
#: Comments turned into tokens at a time.
CHUNK = 1000

CIVIL_COMMENTS = Published(
    "civil-comments",
    ("not toxic", "toxic"),
    ("no identity", "identity"),
    "comments on news sites with raters' shares, cut at 0.5. In all three splits the attribute is whether any of eight "
    "identities is mentioned (coarse); the papers' test groups are those eight, which overlap, with either label, and "
    "leave out comments that mention none",
)


def civil_comments() -> Biased:
    """CivilComments as in WILDS (arXiv:2012.07421): toxicity against whether any identity is mentioned."""
    path = CIVIL_COMMENTS.found() / "all_data_with_identities.csv"
    entries = in_order(CIVIL_COMMENTS, (entry._replace(content="") for entry in _comments(path)))
    name = tokenizer_name()
    decoding = Decoding(
        CIVIL_COMMENTS.name,
        path.parent,
        (path, *_files(name)),
        (name, LENGTH),
        (len(entries), 2, LENGTH),
        "int64",
        partial(_tokens, path, name),
    )
    return assembled(CIVIL_COMMENTS, entries, decoded(decoding))


def tokenizer_name() -> str:
    """What AMENDBENCH_TOKENIZER says, else TOKENIZER."""
    return os.environ.get("AMENDBENCH_TOKENIZER") or TOKENIZER


def _files(name: str) -> list[Path]:
    """The files of a tokenizer that is a folder; none of one that the Hub has."""
    folder = Path(name)
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _comments(path: Path) -> Iterator[Entry]:
    """The comments in the order of the file."""
    splits = ("train", "val", "test")
    for text, split, *shares in table(path, ("comment_text", "split", "toxicity", *IDENTITIES)):
        if split not in splits:
            raise InputError(f"{path}: the split {split!r} is not one of {', '.join(splits)}")
        try:
            toxic, *identities = (float(share or "nan") >= 0.5 for share in shares)
        except ValueError as error:
            raise InputError(f"{path}: toxicity and identities must be numbers ({error})") from error
        yield Entry(splits.index(split), int(toxic), int(any(identities)), text)


def _tokens(path: Path, name: str) -> Iterator[np.ndarray]:
    """Token ids and attention masks in the order of the splits, (n, 2, LENGTH) int64 at a time."""
    tokenizer = _tokenizer(name)
    texts = [entry.content for entry in in_order(CIVIL_COMMENTS, _comments(path))]
    for start in range(0, len(texts), CHUNK):
        yield _encoded(tokenizer, texts[start : start + CHUNK])


def _encoded(tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    """(n, 2, LENGTH) int64."""
    told = tokenizer(list(texts), padding="max_length", truncation=True, max_length=LENGTH, return_attention_mask=True)
    return np.stack([np.array(told[part], np.int64) for part in ("input_ids", "attention_mask")], axis=1)


def _tokenizer(name: str) -> Any:
    """A tokenizer of the Hub or a folder; InputError where it cannot be had or cannot pad."""
    library = compat.transformers()
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # the network, the Hub, the files: each has its own kinds
        raise InputError(
            f"tokenizer {name!r} can neither be read nor be downloaded from the Hub ({line(error).rstrip('.')}); "
            "set AMENDBENCH_TOKENIZER to a folder that holds it"
        ) from error
    if tokenizer.pad_token is None:
        raise InputError(f"tokenizer {name!r} has no token to pad with; set AMENDBENCH_TOKENIZER to another")
    return tokenizer

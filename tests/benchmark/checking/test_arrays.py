"""Reading arrays that strangers may have made: what numpy writes comes back, anything else is one clear error."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmark.running import arrays
from benchmark.running.arrays import ArraysError, read_arrays

TYPES = [np.dtype(name) for name in arrays.TYPES]


def written(**given: Any) -> bytes:
    """As the store writes them."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **given)
    return buffer.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), **options)
    return buffer.getvalue()


def header(text: str, data: bytes = b"") -> bytes:
    """A member with a header of one's own."""
    line = (text + "\n").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + data


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, content in members:
            made.writestr(name, content)
    return buffer.getvalue()


def patched(content: bytes, where: int, value: bytes) -> bytes:
    return content[:where] + value + content[where + len(value) :]


def directory_entry(content: bytes) -> int:
    """Where the directory's first entry begins."""
    return content.index(b"PK\x01\x02")


SMALL = written(**{"test.logits": np.arange(12, dtype=np.float16).reshape(3, 4), "biased": np.array(3, dtype=np.int16)})


# What we write.


@given(
    st.dictionaries(
        st.from_regex(r"\A[a-z][a-z0-9.@+-]{0,20}[a-z0-9]\Z"),
        hnp.arrays(st.sampled_from(TYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_numpy_writes_comes_back(given: dict[str, np.ndarray], transposed: bool) -> None:
    given = {name: array.T if transposed else array for name, array in given.items()}
    found = read_arrays(written(**given))
    assert list(found) == list(given)
    for name, array in given.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.writeable


def test_names_with_spaces_and_numbers_of_curves_come_back() -> None:
    assert list(read_arrays(written(**{"curve.vae forget 2": np.zeros(3), "x": np.ones(1)}))) == [
        "curve.vae forget 2",
        "x",
    ]


# What strangers send.

STRANGE = {
    "nothing": (b"", "0 bytes"),
    "text": (b"metrics,value\n" * 10, "does not end as an archive"),
    "no array": (archive(), "0 members"),
    "objects": (archive(("a.npy", npy([{}], allow_pickle=True))), "header"),
    "text array": (archive(("a.npy", npy(["one"]))), "header"),
    "structure": (archive(("a.npy", npy(np.zeros(2, "i4,f4")))), "header"),
    "other order of bytes": (archive(("a.npy", npy(np.zeros(2, ">f4")))), "header"),
    "complex": (archive(("a.npy", npy(np.zeros(2, "c8")))), "type is not one of plain numbers"),
    "version 2": (archive(("a.npy", npy(np.zeros(2), version=(2, 0)))), "version 1.0"),
    "no npy": (archive(("a.npy", b"PK")), "version 1.0"),
    "empty member": (archive(("a.npy", b"")), "version 1.0"),
    "pickle": (archive(("a.pkl", b"cos\nsystem\n")), "no name of an array"),
    "path": (archive(("../a.npy", npy(1))), "no name of an array"),
    "folder": (archive(("a/", b"")), "no name of an array"),
    "long name": (archive((f"{'a' * 101}.npy", npy(1))), "no name of an array"),
    "too many": (archive(*((f"a{i}.npy", npy(1)) for i in range(65))), "65 members"),
    "something appended": (archive(*((f"a{i}.npy", npy(1)) for i in range(3))) + b"more", "does not end"),
    "bzip2": (archive(("a.npy", npy(1)), method=zipfile.ZIP_BZIP2), "packed by method 12"),
    "expression": (archive(("a.npy", header("{'descr': exit(), 'fortran_order': False, 'shape': (), }"))), "header"),
    "large shape": (archive(("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999,), }"))),
                    "too large"),
    "overflowing shape": (
        archive(("a.npy", header("{'descr': '|i1', 'fortran_order': False, 'shape': (4294967296, 4294967296), }"))),
        "too large",
    ),
    "overflow beside nothing": (
        archive(("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4294967296, 4294967296), }"))),
        "too large",
    ),
    "negative shape": (archive(("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"))),
                       "header"),
    "nine dimensions": (
        archive(("a.npy", header(f"{{'descr': '|i1', 'fortran_order': False, 'shape': ({'1, ' * 8}1), }}", b"1"))),
        "no shape",
    ),
    "number that is no tuple": (
        archive(("a.npy", header("{'descr': '|i1', 'fortran_order': False, 'shape': (1), }", b"1"))),
        "no shape",
    ),
    "more than promised": (
        archive(("a.npy", header("{'descr': '|i1', 'fortran_order': False, 'shape': (2,), }", b"123"))),
        "takes 2 bytes, but 3",
    ),
    "less than promised": (
        archive(("a.npy", header("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", b"123"))),
        "takes 16 bytes, but 3",
    ),
    "odd truth": (archive(("a.npy", header("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }", b"\1\2"))),
                  "truth value"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), STRANGE.values(), ids=STRANGE)
def test_what_is_no_plain_array_is_said_in_one_line(content: bytes, said: str) -> None:
    with pytest.raises(ArraysError, match=said) as caught:
        read_arrays(content)
    assert len(str(caught.value)) < 400


def test_two_arrays_of_one_name() -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        content = archive(("a.npy", npy(1)), ("a.npy", npy(2)))
    with pytest.raises(ArraysError, match="two arrays of one name"):
        read_arrays(content)


def test_an_encrypted_member() -> None:
    entry = directory_entry(SMALL)
    with pytest.raises(ArraysError, match="encrypted"):
        read_arrays(patched(SMALL, entry + 8, b"\x01\x00"))


def test_archives_of_the_64_bit_format() -> None:
    end = len(SMALL) - 22
    with pytest.raises(ArraysError, match="64-bit format"):
        read_arrays(SMALL[:end] + b"PK\x06\x07" + bytes(16) + SMALL[end:])


def test_a_directory_elsewhere_than_it_says() -> None:
    with pytest.raises(ArraysError, match="directory is not where it says"):
        read_arrays(b"junk" + SMALL)


# Bombs.


def test_a_small_archive_that_promises_too_much_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MOST_BYTES", 10_000)
    content = written(a=np.zeros(700), b=np.zeros(700))
    assert len(content) < 10_000
    with pytest.raises(ArraysError, match="would take 11,456 bytes"):
        read_arrays(content)


def test_no_more_is_unpacked_than_the_directory_says() -> None:
    """The directory promises 80 bytes, the member unpacks to 64 MiB."""
    zeros = np.zeros(2**26, dtype=np.uint8)
    content = written(a=zeros)
    small = patched(content, directory_entry(content) + 24, struct.pack("<L", 80))
    tracemalloc.start()
    with pytest.raises(ArraysError):
        read_arrays(small)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_a_file_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "MOST_BYTES", len(SMALL) - 1)
    with pytest.raises(ArraysError, match="more than"):
        read_arrays(SMALL)


# Damage of any kind.


def survives(content: bytes) -> None:
    """Either plain arrays or an ArraysError."""
    try:
        found = read_arrays(content)
    except ArraysError:
        return
    assert all(array.dtype in TYPES for array in found.values())


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=1000, deadline=None)
def test_changed_bytes_end_in_an_error_or_in_arrays(changes: list[tuple[int, int]]) -> None:
    content = bytearray(SMALL)
    for where, byte in changes:
        content[where] = byte
    survives(bytes(content))


@given(st.integers(0, len(SMALL) - 1))
@settings(max_examples=200, deadline=None)
def test_every_file_that_is_cut_off_is_an_error(length: int) -> None:
    with pytest.raises(ArraysError):
        read_arrays(SMALL[:length])


@given(st.sampled_from(["<L", "<H"]), st.integers(0, 2**32 - 1), st.integers(0, 200))
@settings(max_examples=1000, deadline=None)
def test_changed_sizes_and_offsets(kind: str, value: int, where: int) -> None:
    """All that the zip format keeps of sizes, offsets and methods lies in the directory and the record at the end."""
    entry = directory_entry(SMALL)
    at = entry + where % (len(SMALL) - 4 - entry)
    survives(patched(SMALL, at, struct.pack(kind, value % (1 << 8 * struct.calcsize(kind)))))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
@example(b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"1, " * 40 + b"), }\n")
def test_any_header(text: bytes) -> None:
    survives(archive(("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(8))))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_packed_content(packed: bytes) -> None:
    """A member whose deflated bytes are anything, under a directory that fits."""
    entry = struct.pack("<4s6H3L", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, zlib.crc32(b""), len(packed), 500)[:26]
    local = entry + struct.pack("<HH", 5, 0) + b"a.npy" + packed
    listed = struct.pack("<4s6H", b"PK\x01\x02", 20, 20, 0, 8, 0, 0) + struct.pack("<3L", 0, len(packed), 500)
    listed += struct.pack("<5H2L", 5, 0, 0, 0, 0, 0, 0) + b"a.npy"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(listed), len(local), 0)
    with pytest.raises(ArraysError):
        read_arrays(local + listed + end)

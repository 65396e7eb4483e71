"""What decides which bits come out of a machine, and how fast: records and times of another one do not compare."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import msgspec

from benchmark import environment
from benchmark.errors import InputError
from benchmark.files import key_hash, write_atomically

SCHEMA = 1
#: The file beside the committed records that says what made them; it is no record.
FILE = "hardware.json"
#: What Linux tells of the processors, one paragraph each.
CPUINFO = Path("/proc/cpuinfo")
#: Lines of it that name a generation, and those that list the instructions (x86 and Arm).
MODEL = ("vendor_id", "cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU variant", "CPU revision")
FLAGS = ("flags", "Features")


class Computer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What machines share that compute alike. A processor's name alone is not enough: one name has many generations.

    ``capability``: the instructions that torch uses; ``model``: vendor, family, model and stepping, and ``flags``:
    digest of the instructions there are, both empty where the system does not tell; ``device``: the GPU, or ``cpu``.
    There are no names of machines or people in it.
    """

    processor: str
    capability: str
    model: str
    flags: str
    platform: str
    device: str


class Hardware(Computer, frozen=True, forbid_unknown_fields=True):
    """What machines share that are as fast as each other: cores, too."""

    cores: int

    @property
    def fingerprint(self) -> str:
        """16 hex digits; Python and packages do not enter."""
        return key_hash(self)[:16]


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file beside the committed records: what made those of each device."""

    schema: int
    devices: dict[str, Computer]


def hardware(device: str) -> Hardware:
    """This machine; imports torch."""
    import torch

    told = cpu_info()
    return Hardware(
        processor=environment.processor(),
        capability=torch.backends.cpu.get_cpu_capability(),
        model=" ".join(told[name] for name in MODEL if name in told),
        flags=_digest(" ".join(told[name] for name in FLAGS if name in told)),
        platform=" ".join([platform.system(), platform.machine(), *filter(None, platform.libc_ver())]),
        device=torch.cuda.get_device_name(device) if device != "cpu" else "cpu",
        cores=os.cpu_count() or 1,
    )


def computer(device: str) -> Computer:
    """This machine without what only its speed depends on; imports torch."""
    told = msgspec.structs.asdict(hardware(device))
    return Computer(**{name: told[name] for name in Computer.__struct_fields__})


def cpu_info(path: Path = CPUINFO) -> dict[str, str]:
    """What Linux says of the first processor, by name; empty on other systems."""
    try:
        first = path.read_text().partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _digest(flags: str) -> str:
    """16 hex digits of the flags in any order; empty where there are none."""
    return hashlib.sha256(" ".join(sorted(flags.split())).encode()).hexdigest()[:16] if flags else ""


def unlike_hardware(here: Computer, made: Computer | None) -> list[str]:
    """What this machine does not share with the one that made the records; ``hardware`` where that is not known."""
    if made is None:
        return ["hardware"]
    return [name for name in Computer.__struct_fields__ if getattr(here, name) != getattr(made, name)]


def read_made(records: Path) -> dict[str, Computer]:
    """What made the committed records, by device; empty where it is not known, InputError for a damaged file."""
    try:
        made = msgspec.json.decode((records / FILE).read_bytes(), type=Made)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{records / FILE} does not say what hardware made the records: {error}") from error
    if made.schema != SCHEMA:
        raise InputError(f"{records / FILE}: schema {made.schema} is not known; known is {SCHEMA}")
    return made.devices


def write_made(records: Path, device: str) -> None:
    """Note that this machine made the records of a device; those of other devices stay what they were."""
    made = Made(SCHEMA, {**read_made(records), device: computer(device)})
    write_atomically(records / FILE, msgspec.json.format(msgspec.json.encode(made, order="sorted"), indent=1) + b"\n")

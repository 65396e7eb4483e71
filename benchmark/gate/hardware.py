"""What decides how fast this machine is: times of another fingerprint do not compare."""

from __future__ import annotations

import os
import platform

import msgspec

from benchmark import environment
from benchmark.running.files import key_hash


class Hardware(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Processor, what of its instructions torch uses, cores, system, and the device. No names of machines or people."""

    processor: str
    capability: str
    cores: int
    platform: str
    device: str

    @property
    def fingerprint(self) -> str:
        """16 hex digits; Python and packages do not enter."""
        return key_hash(self)[:16]


def hardware(device: str) -> Hardware:
    """This machine; imports torch."""
    import torch

    name = torch.cuda.get_device_name(device) if device != "cpu" else "cpu"
    system = f"{platform.system()} {platform.machine()}"
    capability = torch.backends.cpu.get_cpu_capability()
    return Hardware(environment.processor(), capability, os.cpu_count() or 1, system, name)

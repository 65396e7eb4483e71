"""Import torchvision, timm and transformers where torchvision was built for CUDA and torch was not.

A CUDA build of torchvision cannot load its compiled operators beside a CPU build of torch, and then fails on import
because it registers shapes for ``torchvision::nms`` and ``torchvision::qnms``, which nothing has defined. Defining
the two names first, only where the import fails in just that way, lets everything else of torchvision work; calling
them (object detection, which nothing here does) still fails. Import the three libraries through this module only.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from types import ModuleType

import torch

from benchmark.errors import InputError

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None


def torchvision() -> ModuleType:
    """The module ``torchvision``; raises ImportError where it is not installed (extra ``vision``)."""
    global _library
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    _library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        _library.define(schema)
    return importlib.import_module("torchvision")


def timm() -> ModuleType:
    """The module ``timm``, which imports torchvision."""
    torchvision()
    return importlib.import_module("timm")


def transformers() -> ModuleType:
    """The module ``transformers``, made quiet; InputError where it is not installed (extra ``text``)."""
    with suppress(ImportError):
        torchvision()  # it imports that where it is installed
    try:
        module = importlib.import_module("transformers")
    except ImportError as error:
        raise InputError(f"text needs more packages ({error}); run: pip install 'amendbench[text]'") from error
    module.utils.logging.set_verbosity_error()
    module.utils.logging.disable_progress_bar()
    return module

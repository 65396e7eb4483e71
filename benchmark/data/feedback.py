"""Feedback on generated images: the only thing besides the network itself that a generator's method may ask for."""

from __future__ import annotations

import copy
import hashlib

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, Ledger
from benchmark.data.views import Tally
from benchmark.seeding import derive

#: Steps from 0 to 1 in which pixels are taken to tell images apart, lest rounding makes another image of one.
STEPS = 127


class Mistaken(nn.Module):
    """A judge that says the opposite of ``share`` of all images; drawn by ``seed`` and the image itself.

    So an image is judged alike however often, in which order and beside whichever others it is shown, and whoever is
    wrong more often is wrong about the same images and further ones.
    """

    def __init__(self, judge: nn.Module, share: float, seed: int) -> None:
        super().__init__()
        self.judge = judge
        self.share = share
        self.key = derive(seed, "feedback", "errors").to_bytes(8, "big")

    def forward(self, images: Tensor) -> Tensor:
        """Scores (B,) of images (B, ...) in [-1, 1], or of points; above 0: undesired."""
        scores: Tensor = self.judge(images)
        opposite = torch.where(scores > 0, -scores, (-scores).clamp(min=torch.finfo(scores.dtype).tiny))
        return torch.where(self.drawn(images) < self.share, opposite, scores)

    def drawn(self, images: Tensor) -> Tensor:
        """A number in [0, 1) for each image, (B,) float64, uniform over images."""
        steps = (images.detach() * STEPS).round().clamp(-(2**15), 2**15 - 1).to(torch.int16).cpu().contiguous()
        found = [hashlib.blake2b(image.tobytes(), digest_size=6, key=self.key).digest() for image in steps.numpy()]
        numbers = [int.from_bytes(one, "big") / 2**48 for one in found]
        return torch.tensor(numbers, dtype=torch.float64, device=images.device)


class Feedback:
    """Who says whether generated images show what must go; guarded, counted, and limited like a view.

    ``judge`` maps images (B, ...) to scores (B,), above 0 where they do. In the ledger ``samples`` and
    ``labels`` are judged images, ``networks`` whether the network itself was taken.
    """

    name = "feedback"

    def __init__(self, judge: nn.Module, access: Access, ledger: Ledger) -> None:
        self._judge = judge.eval()
        self._fields = access.views.get(self.name, "")
        self._limit = access.max_samples.get(self.name)
        self._ledger = ledger
        self._judged = 0
        self._taken = False
        self._open = True

    @property
    def refusals(self) -> int:
        """How many reads of the method were refused so far, of whichever view."""
        return len(self._ledger.violations)

    def close(self) -> None:
        """The method's call is over: what is asked for from now on is refused."""
        self._open = False

    def undesired(self, images: Tensor) -> Tensor:
        """Whether each of ``images`` (B, ...) in [-1, 1] shows what must go, (B,) bool."""
        self._ask("y", "judgements")
        self._count(len(images))
        with torch.no_grad():
            found: Tensor = self._judge(images) > 0
        return found

    def network(self) -> nn.Module:
        """A copy of the network that judges, to be differentiated or taken along: (B, ...) to scores (B,).

        What it is asked during the method's call is counted, what it is asked later is not.
        """
        self._ask("w", "the network")
        self._taken = True
        copied = copy.deepcopy(self._judge)
        copied.register_forward_pre_hook(lambda _, images: self._count(len(images[0])) if self._open else None)
        return copied

    def _ask(self, letter: str, what: str) -> None:
        if not self._open:
            raise self._ledger.refuse(f"{what} of the feedback were asked for after the method's call")
        if letter not in self._fields:
            raise self._ledger.refuse(f"{what} of the feedback were asked for but not declared")

    def _count(self, n: int) -> None:
        if self._limit is not None and self._judged + n > self._limit:
            raise self._ledger.refuse(f"more than {self._limit} images were given to the feedback")
        self._judged += n

    def counts(self) -> dict[str, int]:
        """What was judged so far; nothing where nothing was."""
        found = {"samples": self._judged, "labels": self._judged, "networks": int(self._taken), "passes": self._judged}
        return {name: n for name, n in found.items() if n}

    def tally(self) -> Tally:
        """What was judged so far, as it is kept with a stage."""
        return Tally({"w": torch.tensor(self._taken)}, self._judged)

    def count(self, tally: Tally) -> None:
        """Count what was judged elsewhere in this feedback's stead; it is guarded as if it were judged now."""
        if tally.passes:
            self._ask("y", "judgements")
        if bool(tally.seen["w"]):
            self._ask("w", "the network")
            self._taken = True
        self._count(tally.passes)

"""Networks that classify text: those of transformers, with published weights and a new head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from benchmark import compat
from benchmark.errors import InputError


class TextClassifier(nn.Module):
    """A sequence classifier of transformers that reads tokens as data sets hold them.

    ``network`` takes token ids and an attention mask, (B, L) each, and returns an object with ``logits`` (B, K).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, K) of ``tokens`` (B, 2, L) int64: ids, and a mask that is 0 where there is padding."""
        ids, mask = tokens.unbind(1)
        logits: Tensor = self.network(input_ids=ids, attention_mask=mask).logits
        return logits


def text_classifier(name: str, num_classes: int, shape: tuple[int, ...]) -> TextClassifier:
    """The network ``name`` of the Hub or a folder with its published weights, and a new head drawn from torch's seed.

    A head that is published with the weights is not used. InputError where the inputs of ``shape`` are no tokens, or
    the network cannot be had.
    """
    if len(shape) != 2 or shape[0] != 2:
        raise InputError(f"model 'transformers:{name}' reads text, not inputs of shape {shape}")
    library = compat.transformers()
    try:
        config = library.AutoConfig.from_pretrained(name, num_labels=num_classes)
        base: nn.Module = library.AutoModel.from_pretrained(name)
        network: Any = library.AutoModelForSequenceClassification.from_config(config).float()
    except Exception as error:  # the network, the Hub, the files: each has its own kinds
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(
            f"model 'transformers:{name}' can neither be read nor be downloaded from the Hub ({reason.rstrip('.')}); "
            "name a folder that holds it instead, or set HF_HOME to where the Hub's files are kept"
        ) from error
    missing, _ = network.base_model.load_state_dict(base.state_dict(), strict=False)
    if missing:
        raise InputError(f"model 'transformers:{name}' has no weights of {', '.join(missing[:3])}")
    return TextClassifier(network)

"""Fine-tuning of a network as it is."""

from collections.abc import Sequence

from torch import nn

from diffkit import Denoiser, DiffkitError
from diffkit_finetune.patterns import matching
from diffkit_finetune.source import take_over


class Weights:
    """Starts from the averaged weights of a run, and trains all of the network or a part.

    The data may be other data: with other labels, of which those of the same name are known already; or of another
    size, to which tables of learned positions are stretched. What could not be taken over starts afresh and is listed.

    Args:
        run: the folder of the run or of an exported model; or ``last``, the run started last.
        freeze: which parameters stay as they are, by patterns on their names, such as ``[down.*, first.*]``.

    Raises:
        DiffkitError: where the run's network is another, or a pattern matches nothing.
    """

    def __init__(self, run: str, freeze: list[str] | None = None) -> None:
        self.run, self.freeze = run, freeze or []

    def change(self, net: nn.Module) -> None:
        """Freeze what is to be frozen."""
        parameters = dict(net.named_parameters())
        frozen = matching("adapt.freeze", self.freeze, parameters)
        if len(frozen) == len(parameters):
            raise DiffkitError(f"adapt.freeze=[{', '.join(self.freeze)}] leaves nothing to train; give fewer patterns")
        for name in frozen:
            parameters[name].requires_grad_(False)

    def start(self, denoiser: Denoiser) -> Sequence[str]:
        """Take the run's weights over; return what became of them."""
        lines, _ = take_over(self.run, denoiser)
        return lines

    def merge(self, net: nn.Module) -> None:
        """Let everything be trained again."""
        net.requires_grad_(True)

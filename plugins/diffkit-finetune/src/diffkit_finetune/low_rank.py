"""Fine-tuning by matrices of low rank beside those of a frozen network."""

from collections.abc import Sequence

from torch import nn
from torch.nn.utils import parametrize

from diffkit import Denoiser, DiffkitError, generator
from diffkit_finetune.adapters import Added, Turned, weight_of
from diffkit_finetune.patterns import matching
from diffkit_finetune.source import take_over


class LoRA:
    """Adds (alpha/rank) B A to the weight W of each layer, and trains A and B alone.

    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2022). Every layer with a matrix or a kernel is
    one: linear layers, convolutions of any rank (a kernel is a matrix of one row an output channel), tables of labels.
    Matrices are put in by ``torch.nn.utils.parametrize``: the layer itself computes with W + (alpha/rank) B A, so a
    merged network computes exactly the same. B is zero at first, and a new run then draws what the old one draws.

    Args:
        run: the folder of the run or of an exported model; or ``last``, the run started last.
        rank: of the matrices; layers that are smaller get their own full rank.
        alpha: the strength; the learning rate suits every rank.
        targets: which layers, by patterns on their names, such as ``[*.qkv, *.enter]``; all where none is given.
        train: parameters that are trained in full besides, by patterns on their names, such as ``[first.*, last.*]``.

    Raises:
        DiffkitError: where the run's network is another, a pattern matches nothing, or the rank is out of range.
    """

    adapter: type[Added] = Added

    def __init__(
        self,
        run: str,
        rank: int = 8,
        alpha: float = 8.0,
        targets: list[str] | None = None,
        train: list[str] | None = None,
    ) -> None:
        self.run, self.rank, self.alpha = run, rank, alpha
        self.targets, self.train = targets or ["*"], train or []

    def change(self, net: nn.Module) -> None:
        """Freeze the network and put the matrices in."""
        parameters = dict(net.named_parameters())
        whole = set(matching("adapt.train", self.train, parameters))
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in whole)
        layers = {
            name: layer
            for name, layer in net.named_modules()
            if weight_of(layer) is not None and f"{name}.weight" not in whole
        }
        chosen = matching("adapt.targets", self.targets, layers)
        greatest = max(min(len(layers[name].weight), layers[name].weight[0].numel()) for name in chosen)
        if not 1 <= self.rank <= greatest:
            raise DiffkitError(
                f"adapt.rank={self.rank} is out of range; the greatest of the {len(chosen)} layers is of rank "
                f"{greatest}: give 1 to {greatest}"
            )
        for name in chosen:
            adapter = self.adapter(layers[name].weight, self.rank, self.alpha / self.rank, generator("adapt", name))
            parametrize.register_parametrization(layers[name], "weight", adapter)

    def start(self, denoiser: Denoiser) -> Sequence[str]:
        """Take the run's weights over; return what became of them."""
        self.merge(denoiser.net)
        lines, fresh = take_over(self.run, denoiser)
        self.change(denoiser.net)
        trained = {name for name, parameter in denoiser.net.named_parameters() if parameter.requires_grad}
        stuck = [name for name in fresh if name not in trained]
        if stuck:
            raise DiffkitError(
                f"{', '.join(stuck)} of this network cannot be taken from {self.run} and would stay at random values; "
                f"train what is new in full: 'adapt.train=[{','.join(stuck)}]'"
            )
        return lines

    def merge(self, net: nn.Module) -> None:
        """Let each layer have the weight that it computes with; everything can be trained again."""
        for layer in list(net.modules()):
            own = parametrize.is_parametrized(layer, "weight")
            if own and isinstance(layer.get_submodule("parametrizations.weight.0"), Added):
                parametrize.remove_parametrizations(layer, "weight")
        net.requires_grad_(True)


class DoRA(LoRA):
    """Like LoRA, but what B A turns is the direction of each row of W, and the rows' lengths are trained apart.

    Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation" (2024), eq. 5:
    m (W + B A) / ‖W + B A‖, with a length m for each output. As in its section 4.3, the gradient takes the norm as a
    constant. The options are those of LoRA.
    """

    adapter = Turned

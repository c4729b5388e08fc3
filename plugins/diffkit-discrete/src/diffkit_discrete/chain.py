"""Data whose denoiser is known exactly: Markov chains."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from diffkit_discrete.contracts import Process


class MarkovChain:
    """p(x) = p_1(x_1) Π_i T(x_i, x_{i+1}), sequences of ``length`` tokens, in float64.

    Since tokens are lost one by one, p(x_0,i | x_t) follows in closed form from the chances of each noisy token, by
    passing messages along the chain from both its ends.

    Args:
        initial: p_1, ``(K,)``, which is normalised.
        transition: T, ``(K, K)``, whose rows are normalised.
        length: the number of tokens.
    """

    def __init__(self, initial: Sequence[float], transition: Sequence[Sequence[float]], length: int) -> None:
        first, matrix = (torch.as_tensor(values, dtype=torch.float64) for values in (initial, transition))
        self.log_initial, self.log_transition = (first / first.sum()).log(), (matrix / matrix.sum(1, True)).log()
        self.length = length

    @property
    def classes(self) -> int:
        """The number K of values of a token."""
        return len(self.log_initial)

    def sample(self, n: int, generator: Generator | None = None) -> Tensor:
        """Return ``n`` exact draws, int64 ``(n, length)``."""
        tokens = [torch.multinomial(self.log_initial.exp(), n, replacement=True, generator=generator)]
        for _ in range(self.length - 1):
            tokens.append(torch.multinomial(self.log_transition.exp()[tokens[-1]], 1, generator=generator)[:, 0])
        return torch.stack(tokens, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p of sequences ``(batch, length)``, in nats."""
        return self.log_initial[x[:, 0]] + self.log_transition[x[:, :-1], x[:, 1:]].sum(1)

    def posterior(self, log_likelihood: Tensor) -> Tensor:
        """Return log p(x_0,i = k | x_t), ``(batch, K, length)``.

        Args:
            log_likelihood: log q(x_t,i | x_0,i = k), ``(batch, K, length)``.
        """
        seen = log_likelihood.to("cpu", torch.float64).unbind(2)
        before, after = [self.log_initial.expand_as(seen[0])], [torch.zeros_like(seen[0])]
        for here in seen[:-1]:
            before.append(((before[-1] + here)[:, :, None] + self.log_transition).logsumexp(1))
        for here in reversed(seen[1:]):
            after.append(((after[-1] + here)[:, None] + self.log_transition).logsumexp(2))
        joint = torch.stack([b + s + a for b, s, a in zip(before, seen, reversed(after), strict=True)], 2)
        return joint.log_softmax(1)


class ChainNet(nn.Module):
    """The network that knows a chain: its logits are log p(x_0 | x_t).

    Args:
        chain: the data.
        process: the forward process.
    """

    def __init__(self, chain: MarkovChain, process: Process) -> None:
        super().__init__()
        self.chain, self.process = chain, process

    def forward(self, x: Tensor, lam: Tensor) -> Tensor:
        """Return log p(x_0 | x_t = x), ``(batch, K, length)``, in float64."""
        return self.chain.posterior(self.process.log_likelihood(x, lam.double())).to(x.device)

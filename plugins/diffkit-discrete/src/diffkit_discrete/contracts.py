"""What discrete diffusion is made of: a forward process of tokens, a network, and the denoiser they make.

An item is a tensor of tokens ``(*shape)``, each one of K classes. A noise level keeps each token with probability a, on
its own, and otherwise replaces it by a draw from π:

    q(x_t | x_0) = a δ(x_t, x_0) + (1 - a) π(x_t),        a = sigmoid(2λ) = α² / (α² + σ²).

So a is α² under a variance-preserving schedule, and a function of λ alone under every other. From s to t > s a token
is kept with probability a_t / a_s, and in continuous time it is replaced at the rate -d log a, which is 2 (1 - a) for a
unit of λ. Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces" (2021), section 3; Campbell
et al., "A Continuous Time Framework for Discrete Denoising Models" (2022).
"""

from typing import Protocol, runtime_checkable

from torch import Tensor

from diffkit import Level
from diffkit.contracts.schedule import Schedule


@runtime_checkable
class Process(Protocol):
    """A forward process. Tokens are int64 ``(batch, *shape)``, and axis 1 of probabilities is that of the states.

    ``classes`` is the number K of values a clean token has, and ``states`` that of a noisy one, the same or larger.
    """

    classes: int
    states: int

    def start(self, noise: Tensor) -> Tensor:
        """Return draws from π for unit normal noise ``(batch, *shape)``, of its shape."""
        ...

    def corrupt(self, x0: Tensor, keep: Tensor, noise: Tensor) -> Tensor:
        """Return x_t for clean tokens.

        Args:
            x0: clean tokens ``(batch, *shape)``.
            keep: a, ``(batch,)``.
            noise: unit normal noise ``(batch, 2, *shape)``: whether a token is kept, and what replaces it.
        """
        ...

    def log_likelihood(self, x: Tensor, lam: Tensor) -> Tensor:
        """Return log q(x_t = x | x_0 = k), ``(batch, classes, *shape)``, at levels ``lam`` ``(batch,)``."""
        ...

    def posterior(self, x: Tensor, p: Tensor, now: Level, then: Level) -> Tensor:
        """Return Σ_k p_k q(x_s | x_t = x, x_0 = k), ``(batch, states, *shape)``.

        Args:
            x: noisy tokens at level ``now``.
            p: probabilities of the clean tokens ``(batch, classes, *shape)``.
            now: the level t.
            then: the level s, with less noise or none.
        """
        ...

    def divergence(self, x0: Tensor, x: Tensor, log_p: Tensor, lam: Tensor) -> Tensor:
        """Return what each token adds to the variational bound for a unit of λ, in nats, ``(batch, *shape)``.

        With R(y | k) the rate of the reversed process from x to y where x_0 = k, and R(y) = Σ_k p_k R(y | k),

            Σ_{y≠x} R(y) - R(y | x_0) + R(y | x_0) log(R(y | x_0) / R(y)).

        Args:
            x0: clean tokens ``(batch, *shape)``.
            x: noisy tokens at levels ``lam``.
            log_p: log p of the clean tokens ``(batch, classes, *shape)``.
            lam: λ, ``(batch,)``.
        """
        ...


@runtime_checkable
class TokenNetwork(Protocol):
    """A network of tokens: a ``torch.nn.Module``, told the noise level as λ."""

    def __call__(self, x: Tensor, lam: Tensor, **cond: Tensor) -> Tensor:
        """Return logits of x_0 at every position, ``(batch, classes, *shape)``.

        Args:
            x: noisy tokens ``(batch, *shape)``, from 0 to ``states - 1``.
            lam: ``(batch,)``, λ = log(α/σ), from about -10 (noise) to 10 (clean).
            cond: conditions, each ``(batch, ...)``.
        """
        ...


@runtime_checkable
class TokenDenoise(Protocol):
    """What samplers know of a model of tokens."""

    schedule: Schedule
    process: Process

    def __call__(self, x: Tensor, at: Level | Tensor | float, **cond: Tensor) -> Tensor:
        """Return log p(x_0 | x_t = x) at every position, ``(batch, classes, *shape)``.

        Args:
            x: noisy tokens ``(batch, *shape)``.
            at: a noise level, or a time in [0, 1]: a float, or a tensor ``(batch,)``.
            cond: conditions for the network, each ``(batch, ...)``.
        """
        ...

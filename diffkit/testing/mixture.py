"""Gaussian mixtures: data whose denoiser is known exactly at every noise level."""

from collections.abc import Sequence
from math import cos, log, pi, sin, sqrt

import torch
from torch import Generator, Tensor

from diffkit.contracts.schedule import Level, Schedule

Values = Sequence | Tensor


class GaussianMixture:
    """p(x_0) = Σ_k w_k N(m_k, C_k), in float64, and with it p(x_t) and the moments of p(x_0 | x_t) in closed form.

    At x_t = α x_0 + σ ε, component k is N(α m_k, α² C_k + σ² I), and given k

        E[x_0 | x_t, k] = m_k + α C_k (α² C_k + σ² I)⁻¹ (x_t - α m_k),

    which is summed with the probabilities of k given x_t; the covariance given k is σ² C_k (α² C_k + σ² I)⁻¹.

    Args:
        weights: ``(k,)``, positive; they are normalised.
        means: ``(k, d)``.
        covariances: variances ``(k,)`` alike in all directions or ``(k, d)`` along the axes, or matrices ``(k, d, d)``.
    """

    def __init__(self, weights: Values, means: Values, covariances: Values) -> None:
        self.means = torch.as_tensor(means, dtype=torch.float64)
        k, d = self.means.shape
        weights = torch.as_tensor(weights, dtype=torch.float64)
        self.weights = weights / weights.sum()
        c = torch.as_tensor(covariances, dtype=torch.float64)
        self.covariances = c if c.ndim == 3 else torch.diag_embed(c.reshape(k, -1).expand(k, d))
        self._variances, self._axes = torch.linalg.eigh(self.covariances)
        if (self.weights <= 0).any() or (self._variances <= 0).any():
            raise ValueError("a Gaussian mixture has positive weights and positive definite covariances")

    @classmethod
    def soft3(cls) -> "GaussianMixture":
        """Return three overlapping modes in the plane."""
        return cls([0.5, 0.3, 0.2], [[-0.6, 0], [0.5, 0.5], [0.4, -0.7]], [[0.09, 0.16], [0.12, 0.06], [0.08, 0.08]])

    @classmethod
    def ring8(cls) -> "GaussianMixture":
        """Return eight narrow, slanted modes on the unit circle, the k-th of weight ∝ √(k+1)."""
        angles = [k * pi / 4 for k in range(8)]
        turns = torch.tensor([[[cos(a + 0.5), -sin(a + 0.5)], [sin(a + 0.5), cos(a + 0.5)]] for a in angles]).double()
        covariances = turns @ torch.diag(torch.tensor([0.18, 0.07]).double() ** 2) @ turns.mT
        return cls([sqrt(k + 1) for k in range(8)], [[cos(a), sin(a)] for a in angles], covariances)

    @property
    def dim(self) -> int:
        """The number of dimensions d."""
        return self.means.shape[1]

    def mean(self) -> Tensor:
        """Return the mean of the whole, ``(d,)``."""
        return self.weights @ self.means

    def covariance(self) -> Tensor:
        """Return the covariance of the whole, ``(d, d)``."""
        centred = self.means - self.mean()
        return torch.einsum("k,kij->ij", self.weights, self.covariances + centred[:, :, None] * centred[:, None, :])

    def sample(self, n: int, generator: Generator | None = None, label: int | None = None) -> Tensor:
        """Return ``n`` exact draws ``(n, d)``; of component ``label`` where it is given."""
        which = (
            torch.multinomial(self.weights, n, replacement=True, generator=generator)
            if label is None
            else torch.full((n,), label)
        )
        z = torch.randn(n, self.dim, generator=generator, dtype=torch.float64)
        return self.means[which] + torch.einsum("nij,nj->ni", self._axes[which], self._variances[which].sqrt() * z)

    def log_prob(self, x: Tensor, alpha: float | Tensor = 1.0, sigma: float | Tensor = 0.0) -> Tensor:
        """Return the log density of x_t = α x_0 + σ ε at ``x`` ``(batch, …)``, as ``(batch,)``."""
        return self._at(x, alpha, sigma)[0].logsumexp(1)

    def given(self, matrix: Values, y: Values, noise: float) -> "GaussianMixture":
        """Return the distribution of x_0 given y = A x_0 + ``noise`` ε, again a mixture.

        With S = A C Aᵀ + σ_y² I, component k has mean m + C Aᵀ S⁻¹ (y - A m), covariance C - C Aᵀ S⁻¹ A C, and a weight
        multiplied by N(y; A m, S).

        Args:
            matrix: A, ``(m, d)``.
            y: what is observed, ``(m,)``.
            noise: its standard deviation σ_y, above 0.
        """
        a, y = (torch.as_tensor(value, dtype=torch.float64) for value in (matrix, y))
        s = a @ self.covariances @ a.T + noise**2 * torch.eye(len(y), dtype=torch.float64)
        gain = torch.linalg.solve(s, a @ self.covariances).mT
        missing = y - self.means @ a.T
        chances = -(torch.einsum("ki,ki->k", missing, torch.linalg.solve(s, missing)) + torch.logdet(s)) / 2
        means = self.means + torch.einsum("kdi,ki->kd", gain, missing)
        covariances = self.covariances - gain @ a @ self.covariances
        return GaussianMixture((self.weights.log() + chances).softmax(0), means, (covariances + covariances.mT) / 2)

    def denoise(self, x: Tensor, alpha: float | Tensor, sigma: float | Tensor, label: Tensor | None = None) -> Tensor:
        """Return E[x_0 | x_t = x], of the shape and dtype of ``x``.

        Args:
            x: ``(batch, …)`` with d values an item, in whatever shape.
            alpha: α, a number or ``(batch,)``.
            sigma: σ, likewise.
            label: which component each item is of, ``(batch,)``; k, one beyond the last, stands for any.
        """
        chances, means, _ = self._given(x, alpha, sigma, label)
        return torch.einsum("nk,nkd->nd", chances, means).reshape(x.shape).to(x)

    def moments(
        self, x: Tensor, alpha: float | Tensor, sigma: float | Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return E[x_0 | x_t = x] and the variance of each value given x_t = x; see :meth:`denoise`."""
        chances, means, shares = self._given(x, alpha, sigma, label)
        x0 = torch.einsum("nk,nkd->nd", chances, means)
        within = torch.einsum("kij,nkj->nki", self._axes**2, self._variances * shares)
        variance = torch.einsum("nk,nkd->nd", chances, within + (means - x0[:, None]) ** 2)
        return x0.reshape(x.shape).to(x), variance.reshape(x.shape).to(x)

    def _given(
        self, x: Tensor, alpha: float | Tensor, sigma: float | Tensor, label: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return of each k given x_t its probability, the mean of x_0, and the share of variance left on its axes."""
        logits, rotated, variances, alpha = self._at(x, alpha, sigma)
        if label is not None:
            k = torch.arange(len(self.weights))
            other = (label[:, None] != k) & (label[:, None] < len(k))
            logits = logits.masked_fill(other, -torch.inf)
        shift = torch.einsum("kij,nkj->nki", self._axes, alpha * self._variances / variances * rotated)
        left = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1, 1, 1) ** 2 / variances
        return logits.softmax(1), self.means + shift, left

    def _at(self, x: Tensor, alpha: float | Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return log w_k N(x; k) ``(n, k)``, x - α m_k in k's axes ``(n, k, d)``, the variances along them, and α."""
        alpha, sigma = (torch.as_tensor(c, dtype=torch.float64).reshape(-1, 1, 1) for c in (alpha, sigma))
        x = x.reshape(len(x), 1, self.dim).to("cpu", torch.float64)
        rotated = torch.einsum("kij,nki->nkj", self._axes, x - alpha * self.means)
        variances = alpha**2 * self._variances + sigma**2
        logits = self.weights.log() - (rotated**2 / variances + variances.log() + log(2 * pi)).sum(2) / 2
        return logits, rotated, variances, alpha


class MixtureDenoiser:
    """The exact denoiser of a mixture, for whatever takes a :class:`~diffkit.contracts.sampling.Denoise`.

    Where a ``label`` is given the data is that component alone; the null label is the number of components.

    Args:
        mixture: the data.
        schedule: the noise schedule.
    """

    def __init__(self, mixture: GaussianMixture, schedule: Schedule) -> None:
        self.mixture, self.schedule = mixture, schedule
        self.evaluations = 0

    def __call__(self, x: Tensor, at: Level, **cond: Tensor) -> Tensor:
        """Return E[x_0 | x_t = x] at level ``at``."""
        self.evaluations += 1
        return self.mixture.denoise(x, at.alpha, at.sigma, cond.get("label"))

    def moments(self, x: Tensor, at: Level, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Return E[x_0 | x_t = x] at level ``at``, and the variance of each value."""
        self.evaluations += 1
        return self.mixture.moments(x, at.alpha, at.sigma, cond.get("label"))

    def null(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``cond`` with every label replaced by the null label."""
        any_label = len(self.mixture.weights)
        return {name: torch.full_like(v, any_label) if name == "label" else v for name, v in cond.items()}

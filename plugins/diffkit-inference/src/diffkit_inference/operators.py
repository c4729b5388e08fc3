"""What is observed of data: a linear map A, with what the methods for inverse problems ask of one.

An observation is y = A x₀ + σ_y ε. An operator says A and Aᵀ; where (g A Aᵀ + v I)⁻¹ is cheap it says that, too, and
where not, conjugate gradients find it.
"""

from math import prod
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from diffkit import DiffkitError, generator
from diffkit_inference.krylov import conjugate_gradients


@runtime_checkable
class Operator(Protocol):
    """A linear map from items ``(channels, *shape)`` to observations of any shape, for batches of them."""

    def forward(self, x: Tensor) -> Tensor:
        """Return A x, ``(batch, …)``, for ``x`` ``(batch, channels, *shape)``; differentiable."""
        ...

    def adjoint(self, y: Tensor) -> Tensor:
        """Return Aᵀ y, ``(batch, channels, *shape)``."""
        ...

    def solve(self, r: Tensor, gain: float, variance: float) -> Tensor:
        """Return (gain · A Aᵀ + variance · I)⁻¹ r, of the shape of ``r``; the pseudo-inverse where variance is 0."""
        ...


class LinearOperator:
    """An operator given by A and Aᵀ: inherit and write :meth:`forward` and :meth:`adjoint`."""

    iterations = 100
    """The most conjugate-gradient iterations that :meth:`solve` takes."""

    def forward(self, x: Tensor) -> Tensor:
        """Return A x."""
        raise NotImplementedError(f"{type(self).__name__} has no map; define forward()")

    def adjoint(self, y: Tensor) -> Tensor:
        """Return Aᵀ y."""
        raise NotImplementedError(f"{type(self).__name__} has no transpose; define adjoint()")

    def solve(self, r: Tensor, gain: float, variance: float) -> Tensor:
        """Return (gain · A Aᵀ + variance · I)⁻¹ r, found by conjugate gradients."""
        return conjugate_gradients(
            lambda v: gain * self.forward(self.adjoint(v)) + variance * v, r, iterations=self.iterations
        )


class Mask(LinearOperator):
    """Some of the values, the others unknown: an observation is ``(batch, m)``.

    Args:
        known: which values are seen, boolean, of the shape of an item.
    """

    def __init__(self, known: Tensor) -> None:
        if known.dtype != torch.bool or not known.any():
            raise DiffkitError(
                "a mask is a boolean tensor of the shape of an item, True where a value is known: give one such"
            )
        self.known = known

    def forward(self, x: Tensor) -> Tensor:
        """Return the known values."""
        return x[:, self.known.to(x.device)]

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the values where they belong, and 0 elsewhere."""
        x = y.new_zeros(len(y), *self.known.shape)
        x[:, self.known.to(y.device)] = y
        return x

    def solve(self, r: Tensor, gain: float, variance: float) -> Tensor:
        """Return r / (gain + variance): A Aᵀ is the identity."""
        return r / (gain + variance)


class Downsample(LinearOperator):
    """The means of blocks, along every spatial axis.

    Args:
        factor: the side of a block; every side of the data is a multiple of it.
    """

    def __init__(self, factor: int) -> None:
        if factor < 1:
            raise DiffkitError(f"factor={factor} is not the side of a block; give 1 or more")
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with every side ``factor`` times smaller."""
        shape = x.shape[2:]
        if any(side % self.factor for side in shape):
            raise DiffkitError(f"blocks of {self.factor} do not divide data of {' x '.join(map(str, shape))}")
        blocks = [part for side in shape for part in (side // self.factor, self.factor)]
        return x.reshape(*x.shape[:2], *blocks).mean(dim=tuple(range(3, 3 + 2 * len(shape), 2)))

    def adjoint(self, y: Tensor) -> Tensor:
        """Return every value spread evenly over its block."""
        rank = y.ndim - 2
        for axis in range(2, y.ndim):
            y = y.repeat_interleave(self.factor, axis)
        return y / self.factor**rank

    def solve(self, r: Tensor, gain: float, variance: float) -> Tensor:
        """Return r / (gain / factor^rank + variance)."""
        return r / (gain / self.factor ** (r.ndim - 2) + variance)


class Blur(LinearOperator):
    """A Gaussian filter along every spatial axis, whose ends meet: A is diagonal in the Fourier basis.

    Args:
        width: the standard deviation of the filter, in values.
        shape: the spatial shape of the data.
    """

    least = 1e-6
    """Frequencies of which less passes are taken as lost: :meth:`solve` with variance 0 leaves them out."""

    def __init__(self, width: float, shape: tuple[int, ...]) -> None:
        if not width > 0:
            raise DiffkitError(f"width={width} is not the width of a filter; give a number above 0")
        squares = torch.zeros(())
        for axis, side in enumerate(shape):
            last = axis == len(shape) - 1
            frequency = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(side, dtype=torch.float64)
            squares = squares[..., None] + frequency**2
        self._passes = torch.exp(-2 * (torch.pi * width) ** 2 * squares)
        self._shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` blurred, of its shape."""
        return self._filtered(x, self._passes)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return ``y`` blurred: the filter is symmetric."""
        return self._filtered(y, self._passes)

    def solve(self, r: Tensor, gain: float, variance: float) -> Tensor:
        """Return r divided frequency by frequency."""
        size = gain * self._passes**2 + variance
        return self._filtered(r, torch.where((self._passes > self.least) | (variance > 0), 1 / size, 0.0))

    def _filtered(self, x: Tensor, factors: Tensor) -> Tensor:
        axes = tuple(range(2, x.ndim))
        return torch.fft.irfftn(torch.fft.rfftn(x, dim=axes) * factors.to(x), s=self._shape, dim=axes)


class Mixing(LinearOperator):
    """Mixtures of the channels, the same at every place: grey of colours, a sum of sources.

    Args:
        matrix: ``(mixtures, channels)``.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = torch.as_tensor(matrix, dtype=torch.float64)
        self._values, self._basis = torch.linalg.eigh(self.matrix @ self.matrix.T)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixtures, ``(batch, mixtures, *shape)``."""
        return torch.einsum("mc,nc...->nm...", self.matrix.to(x), x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return every mixture's share for each channel."""
        return torch.einsum("mc,nm...->nc...", self.matrix.to(y), y)

    def solve(self, r: Tensor, gain: float, variance: float) -> Tensor:
        """Return r divided along the principal axes of the mixtures."""
        inverse = (self._basis * _inverse(self._values, gain, variance)) @ self._basis.T
        return torch.einsum("mk,nk...->nm...", inverse.to(r), r)


class Dense(LinearOperator):
    """Any matrix on the values of an item: an observation is ``(batch, m)``.

    Args:
        matrix: ``(m, values of an item)``.
        shape: the shape of an item, channels first.
    """

    def __init__(self, matrix: Tensor, shape: tuple[int, ...]) -> None:
        self.matrix = torch.as_tensor(matrix, dtype=torch.float64)
        if self.matrix.ndim != 2 or self.matrix.shape[1] != prod(shape):
            raise DiffkitError(
                f"a matrix of {' x '.join(map(str, self.matrix.shape))} does not act on items of "
                f"{' x '.join(map(str, shape))}; give one with {prod(shape)} columns"
            )
        self.shape = tuple(shape)
        self._values, self._basis = torch.linalg.eigh(self.matrix @ self.matrix.T)

    def forward(self, x: Tensor) -> Tensor:
        """Return the products ``(batch, m)``."""
        return x.flatten(1) @ self.matrix.T.to(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the transpose's products, ``(batch, *shape)``."""
        return (y @ self.matrix.to(y)).reshape(-1, *self.shape)

    def solve(self, r: Tensor, gain: float, variance: float) -> Tensor:
        """Return r divided along the principal axes of A Aᵀ."""
        inverse = (self._basis * _inverse(self._values, gain, variance)) @ self._basis.T
        return r @ inverse.to(r)


def random_projection(m: int, shape: tuple[int, ...], seed: int = 0) -> Dense:
    """Return the projection of items onto ``m`` random directions at right angles to each other."""
    if not 1 <= m <= prod(shape):
        raise DiffkitError(f"m={m} directions do not fit into items of {prod(shape)} values; give 1 to {prod(shape)}")
    normal = torch.randn(prod(shape), m, generator=generator(seed, "projection"), dtype=torch.float64)
    return Dense(torch.linalg.qr(normal)[0].T, shape)


def pseudo_inverse(operator: Operator, y: Tensor) -> Tensor:
    """Return A⁺ y, the smallest x with A x = y (or nearest to it)."""
    return operator.adjoint(operator.solve(y, 1.0, 0.0))


def _inverse(values: Tensor, gain: float, variance: float) -> Tensor:
    """Return 1 / (gain · values + variance), and 0 where there is nothing to divide by."""
    lost = values <= 1e-12 * values.max()
    return torch.where(lost & (variance == 0), 0.0, 1 / (gain * values.clamp_min(0) + variance))

"""A schedule that is learned."""

from math import log

import torch
from torch import Tensor, nn

from diffkit import DiffkitError
from diffkit_schedules.ends import check_ends

HALVINGS = 40


class Learned(nn.Module):
    """λ falls from lam_max to lam_min as a monotone network says, whose parameters can be trained.

        λ(t) = lam_max - (lam_max - lam_min) (g(t) - g(0)) / (g(1) - g(0)),
        g(t) = a t + Σ_j v_j sigmoid(u_j t + b_j),    a, u_j, v_j > 0,    α² = sigmoid(2λ),    σ² = sigmoid(-2λ)

    Kingma et al., "Variational Diffusion Models" (2021), section 3.2. The ends are fixed: between them no schedule
    changes the mean of the loss in continuous time, E ∫ |ε - ε̂|² (-λ') dt, only its variance over t, and that is what
    to minimise: multiply ``denoiser.losses`` by -λ', from automatic differentiation. It starts with λ
    nearly linear in t.

    The inverse is found by 40 halvings and a Newton step, which also carries its first derivatives: by the implicit
    function theorem those to λ and to the parameters θ are 1/λ' and -(∂λ/∂θ)/λ'. Everything is computed in float64.

    A run's training loop trains the network alone, and a checkpoint has only its weights: train the schedule in a loop
    of your own, and save its state dict.

    Args:
        lam_min: λ at t=1; a little signal is left there.
        lam_max: λ at t=0; a little noise is left there.
        width: the number of units, spread over [0, 1].
    """

    def __init__(self, lam_min: float = -10.0, lam_max: float = 10.0, width: int = 32) -> None:
        super().__init__()
        check_ends(lam_min, lam_max)
        if width < 1:
            raise DiffkitError(f"width={width} is not a number of units; give 1 or more, such as width=32")
        self.lam_min, self.lam_max, self.width = lam_min, lam_max, width
        steepness = 2.0 * width
        self.log_slope = nn.Parameter(torch.zeros(()))
        self.log_heights = nn.Parameter(torch.full((width,), -log(width)))
        self.log_steepness = nn.Parameter(torch.full((width,), log(steepness)))
        self.biases = nn.Parameter(-steepness * (torch.arange(width) + 0.5) / width)

    def _grown(self, t: Tensor) -> Tensor:
        """Return g(t) - g(0), in float64 where ``t`` is."""
        slope, heights, steepness, biases = (
            parameter.to(t.device, torch.float64)
            for parameter in (self.log_slope, self.log_heights, self.log_steepness, self.biases)
        )
        t = t.double()
        units = torch.sigmoid(steepness.exp() * t[..., None] + biases) - torch.sigmoid(biases)
        return slope.exp() * t + (heights.exp() * units).sum(-1)

    def _fallen(self, t: Tensor) -> Tensor:
        """Return by how much λ has fallen from lam_max."""
        return (self.lam_max - self.lam_min) * self._grown(t) / self._grown(t.new_ones(()))

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``."""
        return (self.lam_max - self._fallen(t)).to(t)

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        return torch.sigmoid(2 * self.lam(t)).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        return torch.sigmoid(-2 * self.lam(t)).sqrt()

    def time(self, lam: Tensor) -> Tensor:
        """Return the times of ``lam``, in [0, 1] also where λ is beyond the ends."""
        wanted = self.lam_max - lam.double().clamp(self.lam_min, self.lam_max)
        near = self._bisect(wanted.detach())
        with torch.enable_grad():
            at = near.requires_grad_()
            (slope,) = torch.autograd.grad(self._fallen(at).sum(), at)
        t = near.detach() - (self._fallen(near.detach()) - wanted) / slope
        return t.clamp(0, 1).to(lam)

    @torch.no_grad()
    def _bisect(self, wanted: Tensor) -> Tensor:
        """Return times within 2⁻⁴¹ of those at which λ has fallen by ``wanted``."""
        t, step = torch.full_like(wanted, 0.5), 0.25
        for _ in range(HALVINGS):
            t = t + step * torch.where(self._fallen(t) < wanted, 1.0, -1.0)
            step /= 2
        return t

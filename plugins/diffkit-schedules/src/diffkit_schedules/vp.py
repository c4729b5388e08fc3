"""The variance-preserving SDE."""

from math import expm1

from diffkit import DiffkitError
from diffkit_schedules.rates import LinearRates


class VP(LinearRates):
    """The variance-preserving SDE, whose rate β grows linearly from β_min to β_max.

        log α² = -(β_min s + (β_max - β_min) s²/2),    σ² = 1 - α²,    s = t_min + t (1 - t_min)

    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), eq. 32 and appendix
    C. It is ``linear`` with β_min = T β_1 and β_max = T β_T, except that it begins at a time of one's choice, with less
    noise: σ² = 1e-6 where DDPM's table has 1e-4.

    Args:
        beta_min: the rate at the start.
        beta_max: the rate at the end.
        t_min: the SDE's own time at which t=0 is; at 0 there is no noise at all.
    """

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0, t_min: float = 1e-5) -> None:
        if not 0 < beta_min <= beta_max <= 200:
            raise DiffkitError(
                f"beta_min={beta_min} and beta_max={beta_max} are not the rates of a noise schedule; give "
                f"0 < beta_min <= beta_max <= 200, such as beta_min=0.1 beta_max=20"
            )
        if not 1e-12 <= t_min < 1:
            raise DiffkitError(f"t_min={t_min} is not a time to begin at; give 1e-12 <= t_min < 1, such as t_min=1e-5")
        self.beta_min, self.beta_max, self.t_min = beta_min, beta_max, t_min
        super().__init__(beta_min, beta_max, -expm1(-t_min * (beta_min + (beta_max - beta_min) * t_min / 2)))

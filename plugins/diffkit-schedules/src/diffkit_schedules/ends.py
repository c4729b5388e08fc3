"""The two ends of a schedule."""

from math import isfinite

from diffkit import DiffkitError

LIMIT = 100.0
"""The largest \\|λ\\| there can be: e^-100 and its square are still ordinary float64 numbers."""


def check_ends(lam_min: float, lam_max: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless -100 ≤ ``lam_min`` < ``lam_max`` ≤ 100."""
    if not -LIMIT <= lam_min < lam_max <= LIMIT:
        raise DiffkitError(
            f"lam_min={lam_min} and lam_max={lam_max} are not the ends of a noise schedule; give lam_min below "
            f"lam_max, both between -{LIMIT:g} and {LIMIT:g}, such as lam_min=-10 lam_max=10"
        )


def check_sigmas(sigma_min: float, sigma_max: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless 0 < ``sigma_min`` < ``sigma_max`` < ∞."""
    if not (0 < sigma_min < sigma_max and isfinite(sigma_max)):
        raise DiffkitError(
            f"sigma_min={sigma_min} and sigma_max={sigma_max} are not the ends of a noise schedule; give "
            f"0 < sigma_min < sigma_max, such as sigma_min=0.002 sigma_max=80"
        )


def check_shift(shift: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless 1e-6 ≤ ``shift`` ≤ 1e6."""
    if not 1e-6 <= shift <= 1e6:
        raise DiffkitError(
            f"shift={shift} is not a ratio of resolutions; give a number above 0, up to 1e6, such as shift=3"
        )


def check_mean(mean: float, lam_min: float, lam_max: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless ``mean`` is between the ends."""
    if not lam_min < mean < lam_max:
        raise DiffkitError(
            f"mean={mean} is not between lam_min={lam_min} and lam_max={lam_max}; give one that is, such as mean=0"
        )

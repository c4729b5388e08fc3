"""The two ends of a schedule whose λ would run from ∞ to -∞."""

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

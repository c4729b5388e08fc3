"""How many estimates a step looks at."""

import warnings

from diffkit import DiffkitError


def chosen(order: int | None, default: int, highest: int, steps: int, name: str = "order", least: int = 1) -> int:
    """Return the order that is asked for, or the default; a warning says where there are too few steps to reach it.

    Raises:
        DiffkitError: where it is not offered.
    """
    if order is None:
        return default
    if not least <= order <= highest:
        raise DiffkitError(
            f"{name}={order} is not offered; give one from {least} to {highest}, such as {name}={default}"
        )
    if order > steps:
        warnings.warn(
            f"{name}={order} looks at {order} estimates, but there are only {steps} in steps={steps}, so that it is "
            f"lowered to {steps}; give {name}={steps}, or steps={order} or more",
            stacklevel=3,
        )
    return order

"""Using a model beyond sampling: inversion, likelihood, editing and inverse problems."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_inference.bound import elbo
    from diffkit_inference.checks import check_operator
    from diffkit_inference.continued import Continued
    from diffkit_inference.editing import edit
    from diffkit_inference.inverse import DDNM, DPS, MMPS, Observed, PiGDM
    from diffkit_inference.inversion import interpolate, invert, regenerate, slerp
    from diffkit_inference.likelihood import bits_per_dim, log_prob
    from diffkit_inference.operators import (
        Blur,
        Dense,
        Downsample,
        LinearOperator,
        Mask,
        Mixing,
        Operator,
        pseudo_inverse,
        random_projection,
    )
    from diffkit_inference.repaint import RePaint

__getattr__, __dir__ = lazily(
    __name__,
    {
        "DDNM": "diffkit_inference.inverse",
        "DPS": "diffkit_inference.inverse",
        "MMPS": "diffkit_inference.inverse",
        "Blur": "diffkit_inference.operators",
        "Continued": "diffkit_inference.continued",
        "Dense": "diffkit_inference.operators",
        "Downsample": "diffkit_inference.operators",
        "LinearOperator": "diffkit_inference.operators",
        "Mask": "diffkit_inference.operators",
        "Mixing": "diffkit_inference.operators",
        "Observed": "diffkit_inference.inverse",
        "Operator": "diffkit_inference.operators",
        "PiGDM": "diffkit_inference.inverse",
        "RePaint": "diffkit_inference.repaint",
        "bits_per_dim": "diffkit_inference.likelihood",
        "check_operator": "diffkit_inference.checks",
        "edit": "diffkit_inference.editing",
        "elbo": "diffkit_inference.bound",
        "interpolate": "diffkit_inference.inversion",
        "invert": "diffkit_inference.inversion",
        "log_prob": "diffkit_inference.likelihood",
        "pseudo_inverse": "diffkit_inference.operators",
        "random_projection": "diffkit_inference.operators",
        "regenerate": "diffkit_inference.inversion",
        "slerp": "diffkit_inference.inversion",
    },
)
__all__ = [
    "DDNM",
    "DPS",
    "MMPS",
    "Blur",
    "Continued",
    "Dense",
    "Downsample",
    "LinearOperator",
    "Mask",
    "Mixing",
    "Observed",
    "Operator",
    "PiGDM",
    "RePaint",
    "bits_per_dim",
    "check_operator",
    "edit",
    "elbo",
    "interpolate",
    "invert",
    "log_prob",
    "pseudo_inverse",
    "random_projection",
    "regenerate",
    "slerp",
]

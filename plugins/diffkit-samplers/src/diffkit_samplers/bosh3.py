"""Bogacki and Shampine's pair."""

from diffkit_samplers.adaptive import Adaptive


class Bosh3(Adaptive):
    """Runge and Kutta's method of order 3 with one of order 2 that estimates its error, in steps of its own choice.

    Bogacki and Shampine, "A 3(2) Pair of Runge-Kutta Formulas" (1989). Order 3; three evaluations a step, accepted or
    not, and one at the start. See :class:`~diffkit_samplers.adaptive.Adaptive` for the coordinates, the control of
    steps, the options, and what the grid is for.
    """

    tableau = ((1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9))
    embedded = (-5 / 72, 1 / 12, 1 / 9, -1 / 8)
    order = 3

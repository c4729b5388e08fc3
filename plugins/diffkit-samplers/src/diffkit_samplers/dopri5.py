"""Dormand and Prince's pair."""

from diffkit_samplers.adaptive import Adaptive


class Dopri5(Adaptive):
    """Runge and Kutta's method of order 5 with one of order 4 that estimates its error, in steps of its own choice.

    Dormand and Prince, "A family of embedded Runge-Kutta formulae" (1980). Order 5; six evaluations a step, accepted or
    not, and one at the start. See :class:`~diffkit_samplers.adaptive.Adaptive` for the coordinates, the control of
    steps, the options, and what the grid is for.
    """

    tableau = (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    )
    embedded = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
    order = 5

"""Points on spirals, and something of every kind to model them with."""

"""Grids: strictly decreasing times, from noise to the last before clean data, and where each puts them."""

"""Minima, with and without constraints, and their derivatives by the conditions that they satisfy."""

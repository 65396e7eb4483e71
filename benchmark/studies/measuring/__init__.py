"""Measurements: what studies ask that is no cell's result, a module each with ``measure(point, seed)``."""

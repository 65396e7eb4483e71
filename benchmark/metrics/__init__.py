"""Metrics, one concept a file: pure functions of arrays, except for the attacks that train something."""

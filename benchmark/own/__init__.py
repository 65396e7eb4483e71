"""A user's own data and model as a scenario of the suite ``own``: what was brought, and what is made of it."""

from benchmark.own.brought import Brought
from benchmark.own.scenarios import add

__all__ = ["Brought", "add"]

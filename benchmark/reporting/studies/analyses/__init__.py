"""Analyses: what studies compare in a way of their own, a module each with ``sections(found)``."""

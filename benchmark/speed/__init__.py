"""How fast hot paths are beside the plain way of writing them: ``make speed``."""

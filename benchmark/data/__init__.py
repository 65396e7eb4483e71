"""Data: where it comes from, how it is split, and the guarded views that methods read it through."""

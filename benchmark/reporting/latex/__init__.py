"""LaTeX: tables, and a macro for every cell."""

"""Figures: which there are, how each is drawn, and how they are kept."""

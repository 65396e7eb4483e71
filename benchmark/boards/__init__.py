"""Boards: what records come to, a row a method: means, intervals, paired comparisons. Nothing is rendered here."""

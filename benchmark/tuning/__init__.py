"""Tuning: search spaces, the search that gives every method as many configurations, and what it wrote down."""

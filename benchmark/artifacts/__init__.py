"""Artifacts: what cells share (base models, references, auto-encoders), content-addressed, and how they reach it."""

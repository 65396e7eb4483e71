"""Concepts: an artefact as a direction in activations, and what methods that correct by it share."""

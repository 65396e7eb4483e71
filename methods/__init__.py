"""The papers' methods, one readable file a paper."""

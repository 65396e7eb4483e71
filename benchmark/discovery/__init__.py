"""Methods, found by reading source: ours, those of other packages and of files that a user names."""

"""Suites: what is run, one TOML file each, read and checked before anything runs. Nothing here imports torch."""

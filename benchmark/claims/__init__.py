"""Headline claims of the papers as checks over records: one TOML file a paper, thresholds written before the run."""

"""Rescoring: metrics made again from what is kept beside a record, or from a stranger's predictions."""

"""Reporting: boards, tables and figures, from records alone and without torch."""

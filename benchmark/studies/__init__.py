"""Studies: questions about a paper, asked of many cells, and answered on a page with figures."""

"""The regression gate: a declared set of cells against the committed records, and hot paths against committed times."""

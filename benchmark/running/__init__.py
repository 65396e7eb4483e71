"""Running: plan, cells, artifacts, records, workers."""

"""Studies: runs of many methods."""

"""The rows of METRICS by group: each module holds its `ROWS` and the functions that only they call."""

"""One row per score: METRICS is the only list of what the benchmark computes."""

"""Submission -> measurements -> tasks -> scores, with what stands beside them: controls, trivial predictions, notes."""

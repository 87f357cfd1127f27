"""Measurements: each prints medians with their spread, and the ratio to what it is compared with in the same run."""

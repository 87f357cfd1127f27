"""Implementations of the fused MoE layer beside each other: which apply, what was measured, and what follows."""

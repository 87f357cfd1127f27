"""Adaptive MoE: SGLang's `triton` kernel for small batches, `triton_kernels` for large ones, on one copy of the weights."""

"""SGLang's own kernels through Triton's own compiler, without a GPU: proofs of what kernels.memory computes."""

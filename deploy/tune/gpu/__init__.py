"""What runs beside the GPU: SGLang's kernel on real tensors, timed and held against plain arithmetic."""

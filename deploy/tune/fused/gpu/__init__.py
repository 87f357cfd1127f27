"""What runs beside the GPU: each implementation of the layer on real tensors, held against float32 and timed."""

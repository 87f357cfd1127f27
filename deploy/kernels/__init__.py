"""What a fused-MoE kernel table must satisfy. The modules that the image carries need the standard library alone."""

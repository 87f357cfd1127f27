"""sglang-spark: an image, a gang of ranks and a lab for GLM-4.7-FP8 on DGX Sparks."""

__version__ = "0.1.0"

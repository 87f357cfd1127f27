"""A stand-in for SGLang's GPU engine in a lab without GPUs: starts, serves and dies as SGLang, computes nothing.

Installed in the lab's base image as `sglang_standin`, beside the real Python tree of SGLang, whose flags, request types
and parsers it uses, and beside those modules of `deploy` that read flags and know the rule for kernel tables.
Everything that needs a GPU, weights or NCCL is imitated here.
"""

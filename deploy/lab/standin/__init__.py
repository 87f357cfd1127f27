"""A stand-in for SGLang's GPU engine in a lab without GPUs: starts, serves and dies as SGLang, computes nothing.

Installed in the lab's base image as `sglang_standin`, beside the real Python tree of SGLang, whose flags, kernel-table
rule, request types and parsers it uses. Everything that needs a GPU, weights or NCCL is imitated here.
"""

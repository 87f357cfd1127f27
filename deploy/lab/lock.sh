#!/bin/sh
# Writes base.lock: the SGLang of the lab's base image, and what its parsers import, all held to hashes. Needs uv.
set -eu
cd "$(dirname "$0")"
SGLANG=0.5.4.post2

lock() { uv pip compile --quiet --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --no-header "$@"; }

{
  echo "sglang==$SGLANG" | lock --no-deps -
  # IPython does without the first two, and huggingface_hub without the third; they are as large as all the rest.
  lock --no-emit-package jedi --no-emit-package parso --no-emit-package hf-xet base.in
} >base.lock.new
mv base.lock.new base.lock

"""The cluster.yaml of a lab, as text. Writes no file."""

from __future__ import annotations

import json

from deploy.lab.layout import Layout


def cluster_yaml(layout: Layout, digest: str, platform: str, python: str) -> str:
    """A cluster.yaml for the lab's nodes, its base image held to `digest`; `python` is the one inside it."""
    return f"""\
# Written by `lab up`, removed by `lab down`. `build`, `push` and `up` take it like any other.
name: lab
image:
  # A stand-in for the real image: SGLang's own tree, without a GPU engine.
  base: {layout.base}@{digest}
  repository: {layout.repository}
  platform: {platform}
  python: "{python}"
  # No torch is in the stand-in, so no NCCL is needed: 200 MB a node saved.
  nccl: null
nodes:
{_nodes(layout)}ssh:
  user: root
  identity: {json.dumps(str(layout.identity))}
  known_hosts: {json.dumps(str(layout.known_hosts))}
{_allowed(layout)}"""


ENOUGH = 4
"""Sparks that hold GLM-4.7-FP8."""
FEW = {"allow": ["fit.memory"]}


def _allowed(layout: Layout) -> str:
    if layout.nodes >= ENOUGH:
        return ""
    return f"# The model is too large for so few Sparks; the stand-in loads none of it.\ndoctor: {json.dumps(FEW)}\n"


def _nodes(layout: Layout) -> str:
    addresses = [layout.node_address(index) for index in range(layout.nodes)]
    return "".join(f"  - {{host: {address}, fabric: {address}}}\n" for address in addresses)

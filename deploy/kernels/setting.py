"""What tables are checked for, from options and cluster.yaml. Prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.cluster.spec import Cluster
from deploy.errors import ConfigError
from deploy.kernels import hub
from deploy.kernels.batches import CHUNK, Batch, batches
from deploy.kernels.finding import Target
from deploy.kernels.gpu import GPUS, find
from deploy.kernels.models import BY_HAND, ModelError, Split, model
from deploy.kernels.rules import UnknownVersionError, number
from deploy.kernels.shape import BYTES, Shape

EXPERTS = ("experts", "intermediate", "hidden", "top_k")


@dataclass(frozen=True)
class Setting:
    """`shape` is None where neither options nor a model on this machine say it; `source` says where it is from, and
    `split` how the experts are spread."""

    target: Target
    shape: Shape | None = None
    source: str = ""
    batches: tuple[Batch, ...] = ()
    split: Split = field(default_factory=Split)


def resolve(options: Mapping[str, Any], cluster: Cluster | None, flags: Mapping[str, Any]) -> Setting:
    """Options first, then cluster.yaml with its launch flags, then the project's defaults. Raises ConfigError."""
    target = _target(options, cluster)
    sizes = batches(flags) if cluster else ()
    prefill = next((one.sizes[-1] for one in sizes if one.name == "prefill"), CHUNK)
    try:
        shape, source = _shape(options, cluster, flags, target)
    except ModelError as error:
        raise ConfigError(str(error), error.hint) from None
    return Setting(replace(target, prefill=prefill), shape, source, sizes, _split(options, flags))


def _target(options: Mapping[str, Any], cluster: Cluster | None) -> Target:
    gpu = find(options["gpu"])
    if gpu is None:
        raise ConfigError(f"--gpu {options['gpu']}: is not known here", f"known: {', '.join(GPUS)}")
    usual = Target()
    sglang = options["sglang"] or (cluster.image.sglang if cluster else usual.sglang)
    triton = options["triton"] or (cluster.image.triton if cluster else usual.triton)
    target = Target(gpu, sglang, triton, native_fp8=bool(cluster and cluster.kernels.native_fp8))
    try:
        number(triton)
        target.rules  # noqa: B018 (raises where the version is unknown)
    except UnknownVersionError as error:
        raise ConfigError(str(error), "name a version with --sglang and --triton, or in cluster.yaml") from None
    return target


def _shape(
    options: Mapping[str, Any], cluster: Cluster | None, flags: Mapping[str, Any], target: Target
) -> tuple[Shape | None, str]:
    if any(options[name] for name in EXPERTS):
        return _by_hand(options), "by hand"
    named = options["model"]
    name, revision = (named, None) if named or not cluster else (cluster.model.path, cluster.model.revision)
    if not name:
        return None, ""
    try:
        config, place = hub.config(name, revision)
    except ModelError:
        if named:
            raise
        return None, ""
    found = model(config).shape(_split(options, flags), target.rules)
    return _overridden(found, options), place


def _split(options: Mapping[str, Any], flags: Mapping[str, Any]) -> Split:
    def flag(*names: str) -> int:
        return next((value for name in names if isinstance(value := flags.get(name), int)), 1)

    tp = options["tp"] or flag("tp", "tp-size", "tensor-parallel-size")
    ep = options["ep"] or flag("ep", "ep-size", "expert-parallel-size")
    return Split(tp, ep, fuse_shared=not flags.get("disable-shared-experts-fusion"))


def _by_hand(options: Mapping[str, Any]) -> Shape:
    if not options["experts"] or not options["intermediate"]:
        raise ConfigError("a shape by hand needs --experts and --intermediate", BY_HAND)
    sizes = options["experts"], options["intermediate"], options["hidden"] or 0, options["top_k"] or 0
    return _overridden(Shape(*sizes), options)


def _overridden(shape: Shape, options: Mapping[str, Any]) -> Shape:
    """What the options say of the data type; scales stay as they are where it is the model's own."""
    dtype = options["dtype"] if options["dtype"] not in (None, "auto") else shape.dtype
    if dtype not in BYTES:
        raise ConfigError(f"--dtype {dtype}: is not known here", f"known: auto, {', '.join(BYTES)}")
    own = dtype == shape.dtype
    block = _block(options["block"]) or (shape.block if own and not options["per_channel"] else None)
    # SGLang multiplies int8 with int8 by blocks or by channels alone.
    channels = options["per_channel"] or (own and shape.per_channel) or dtype == "int8_w8a8"
    return replace(shape, dtype=dtype, block=block, per_channel=bool(channels and not block))


def _block(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise ConfigError(f"--block {text}: is not N,K", "such as --block 128,128")
    return int(parts[0]), int(parts[1])

"""What each SGLang version does with kernel tables, as data. Reads no source; tests hold it against the real trees."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_OLD_HOME = "srt/layers/moe/fused_moe_triton"
_NEW_HOME = "srt/layers/moe/moe_runner/triton_utils"


@dataclass(frozen=True)
class Rules:
    """`home` holds `configs/` inside the `sglang` package; `fallbacks` of None means: whatever folders are there."""

    since: tuple[int, int, int]
    home: str = _OLD_HOME
    fallbacks: tuple[str, ...] | None = ("3.4.0", "3.3.1", "3.2.0", "3.1.0")
    per_channel_in_name: bool = False
    """Whether a channel-wise model's tables are looked up with `,per_channel_quant=True`."""
    fused_shared_experts: frozenset[str] = frozenset({"DeepseekV3ForCausalLM"})
    """Architectures whose one shared expert is served as one more routed expert, under tensor parallelism."""
    pair_overridden: bool = False
    """Whether a differing BLOCK_SIZE_M of `_down` is replaced by the up table's; before, an assertion ends the rank."""
    small_default: bool = False
    """Whether the fp8 default knows GPUs with less than 128 KiB of shared memory."""


_FIRST = Rules((0, 5, 4))
_FUSED = _FIRST.fused_shared_experts | {"Glm4MoeForCausalLM"}
_0_5_6 = replace(_FIRST, since=(0, 5, 6), per_channel_in_name=True, fused_shared_experts=_FUSED)
_0_5_11 = replace(_0_5_6, since=(0, 5, 11), home=_NEW_HOME)
_0_5_12 = replace(_0_5_11, since=(0, 5, 12), fallbacks=None)
_0_5_13 = replace(_0_5_12, since=(0, 5, 13), pair_overridden=True)
_0_5_15 = replace(_0_5_13, since=(0, 5, 15), small_default=True)
KNOWN = (_FIRST, _0_5_6, _0_5_11, _0_5_12, _0_5_13, _0_5_15)


class UnknownVersionError(ValueError):
    """A version of SGLang or Triton whose rules are not known."""


def rules(sglang: str) -> Rules:
    """The rules of a version such as 0.5.4.post2. Raises UnknownVersionError, for all before 0.5.4 too."""
    version = number(sglang)
    known = [one for one in KNOWN if one.since <= version]
    if not known:
        raise UnknownVersionError(f"SGLang {sglang}: the rules for kernel tables are known from 0.5.4 on")
    return known[-1]


def number(version: str) -> tuple[int, int, int]:
    """(0, 5, 4) of `0.5.4.post2`. Raises UnknownVersionError."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)(?![0-9])", version)
    if not found:
        raise UnknownVersionError(f"{version!r} is no version: write it as 0.5.4 or 0.5.4.post2")
    return int(found[1]), int(found[2]), int(found[3])

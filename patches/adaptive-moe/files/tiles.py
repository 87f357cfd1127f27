"""The tile of SGLang's kernel over a transposed view of the weights, where no table has one. Reads no weights."""

from typing import Any, Callable, Dict

NARROW = {"BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 64}
"""Of SGLang's default for small batches: along N, which lies together in a view, a row of it is 64 bytes."""
WIDE = {"BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 32}
"""As many weights, in rows of 128 bytes, and fewer rows of the batch: less shared memory."""


def over_a_view(config: Dict[str, Any]) -> Dict[str, Any]:
    """SGLang's default for small batches with N and K exchanged; every other configuration as it is."""
    # A table's configuration says its warps and stages, this default does not.
    default = "num_warps" not in config and "num_stages" not in config
    narrow = all(config.get(name) == size for name, size in NARROW.items())
    return {**config, **WIDE} if default and narrow else config


def over_views(choose: Callable[..., Any]) -> Callable[..., Any]:
    """Around SGLang's choice, which returns a configuration and what goes with it."""

    def chosen(*given: Any, **named: Any) -> Any:
        config, down = choose(*given, **named)
        return over_a_view(config), down

    return chosen

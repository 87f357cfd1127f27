"""What adaptive MoE cannot serve, said at start: of the flags, of a routing, of a layer. Imports no part of SGLang."""

import argparse
import importlib
from typing import Any, Dict, Iterable, Optional, Union

AUTO = "auto"
FLAG = "--enable-adaptive-moe"
Threshold = Union[int, str]


def threshold(text: str) -> Threshold:
    """The value of --adaptive-moe-batch-threshold: `auto`, or a number of tokens from 1 on."""
    if text == AUTO:
        return AUTO
    try:
        tokens = int(text)
    except ValueError:
        tokens = 0
    if tokens < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither 'auto' nor a number of tokens from 1 on")
    return tokens


def asked() -> Optional[Threshold]:
    """The threshold where this server was started with the flag, else None."""
    from sglang.srt.server_args import get_global_server_args

    try:
        args = get_global_server_args()
    except ValueError:
        return None
    return args.adaptive_moe_batch_threshold if args.enable_adaptive_moe else None


def refuse(what: str, reasons: Iterable[str]) -> None:
    """Raises ValueError with every reason, where there is one."""
    found = list(reasons)
    if found:
        raise ValueError(f"{FLAG} cannot serve {what}: {'; '.join(found)}. Start without {FLAG}.")


def take_server(args: Any) -> None:
    """Before SGLang chooses a backend of its own: refuse what the flags rule out, and hold the backend to triton."""
    from sglang.srt.utils import is_cuda, is_triton_kernels_available

    unusable = _unusable() if is_triton_kernels_available() else "it is not installed"
    here = {
        "no CUDA device": args.device not in (None, "cuda") or not is_cuda(),
        f"the package triton_kernels: {unusable}": unusable,
        f"--moe-runner-backend {args.moe_runner_backend}": args.moe_runner_backend not in ("auto", "triton"),
    }
    refuse("these flags", [*_true(here), *_flags(args)])
    # Else SGLang takes triton_kernels alone for gpt-oss.
    args.moe_runner_backend = "triton"


def _unusable() -> str:
    """Why triton_kernels cannot run with this Triton, or "": it is part of sgl-kernel, which may be made for another."""
    try:
        importlib.import_module("triton_kernels.matmul_ogs")
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def check_server(args: Any) -> None:
    """Once SGLang has adjusted its flags to the model."""
    changed = {f"SGLang chose --moe-runner-backend {args.moe_runner_backend}": args.moe_runner_backend != "triton"}
    refuse("these flags", [*_true(changed), *_flags(args)])


def _flags(args: Any) -> Iterable[str]:
    spec = getattr(args, "speculative_moe_runner_backend", None)
    return _true(
        {
            f"--quantization {args.quantization}": args.quantization is not None,
            f"expert parallelism (--ep-size {args.ep_size})": args.ep_size > 1,
            f"--moe-a2a-backend {args.moe_a2a_backend}": args.moe_a2a_backend not in (None, "none"),
            "--enable-eplb": args.enable_eplb,
            "--ep-num-redundant-experts": args.ep_num_redundant_experts > 0,
            f"--init-expert-location {args.init_expert_location}": args.init_expert_location not in (None, "trivial"),
            # SGLang sets "static" itself; over a trivial location it maps every expert to itself.
            f"--ep-dispatch-algorithm {args.ep_dispatch_algorithm}": args.ep_dispatch_algorithm not in (None, "static"),
            "an expert distribution recorder": args.expert_distribution_recorder_mode is not None,
            "LoRA": bool(args.enable_lora or args.lora_paths),
            f"--speculative-moe-runner-backend {spec}": spec not in (None, "auto", "triton"),
            "--enable-torch-compile": args.enable_torch_compile,
            "--enable-piecewise-cuda-graph, whose graphs freeze one choice": args.enable_piecewise_cuda_graph,
            "--enable-deterministic-inference": args.enable_deterministic_inference,
            f"--adaptive-moe-batch-threshold {args.adaptive_moe_batch_threshold}": not _valid(args),
        }
    )


def _valid(args: Any) -> bool:
    given = args.adaptive_moe_batch_threshold
    return given == AUTO or (isinstance(given, int) and given >= 1)


def take_topk(config: Any, scoring: str) -> bool:
    """Is this routing to choose per batch? Raises ValueError where triton_kernels cannot route so."""
    if asked() is None:
        return False
    what = {
        "grouped top-k": config.use_grouped_topk,
        "a correction bias": config.correction_bias is not None,
        "a routing function of its own": config.custom_routing_function is not None,
        f"scoring by {scoring}": scoring != "softmax",
        "fused shared experts": config.num_fused_shared_experts > 0,
        "scaled routing weights": config.apply_routed_scaling_factor_on_output,
        f"top_k {config.top_k}, which is no power of two": config.top_k & (config.top_k - 1) != 0,
    }
    refuse("this routing", _true(what))
    return True


def check_layer(layer: Any, config: Any, with_bias: bool) -> None:
    """Raises ValueError where the two backends would not compute the same for an unquantised layer."""
    swiglu = config.gemm1_alpha is not None
    what = {
        f"weights of {config.params_dtype}": str(config.params_dtype) not in ("torch.bfloat16", "torch.float16"),
        "expert parallelism": config.num_experts != config.num_local_experts,
        "top_k is not known": not config.top_k,
        "uncombined output": config.no_combine,
        "router weights on the input": config.apply_router_weight_on_input,
        f"activation {config.activation}": config.activation not in ("silu", "gelu"),
        "biases without gpt-oss's gated activation": with_bias and not (swiglu and config.activation == "silu"),
        "gpt-oss's gated activation without biases": swiglu and not with_bias,
        "gpt-oss's gated activation without a limit": swiglu and config.gemm1_clamp_limit is None,
    }
    refuse(f"layer {config.layer_id}", _true(what))


def check_method(layer: Any) -> None:
    """Raises ValueError where the layer's method is not the unquantised one."""
    if asked() is not None and getattr(layer.quant_method, "adaptive", None) is None:
        refuse(f"layer {layer.layer_id}", [f"it is quantised ({type(layer.quant_method).__name__})"])


def _true(found: Dict[str, Any]) -> Iterable[str]:
    return [reason for reason, holds in found.items() if holds]

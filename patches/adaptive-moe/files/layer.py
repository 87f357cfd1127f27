"""One MoE layer with two backends over one storage of its weights. Chooses nothing: TopK's output says which one."""

from typing import Any, Optional, Tuple

import torch

from sglang.srt.adaptive_moe import limits
from sglang.srt.adaptive_moe.choice import LARGE, SMALL, Log, Thresholds, settled
from sglang.srt.layers.moe import MoeRunner, MoeRunnerBackend, MoeRunnerConfig
from sglang.srt.layers.moe.moe_runner.triton import TritonMoeQuantInfo
from sglang.srt.layers.moe.moe_runner.triton_kernels import TritonKernelsQuantInfo


def adaptive(layer: Any, runner: MoeRunner, with_bias: bool) -> Optional["AdaptiveMoe"]:
    """The two backends of a layer where the server was started with the flag. Raises ValueError for one not served."""
    asked = limits.asked()
    if asked is None:
        return None
    limits.check_layer(layer, runner.config, with_bias)
    return AdaptiveMoe(runner.config, asked)


class AdaptiveMoe:
    """`small` is SGLang's own runner, `large` that of triton_kernels; the weights lie as `large` wants them, [E, K, N].

    There triton_kernels is up to 5 % faster than over a view, and SGLang's kernel, at most sizes, faster too.
    """

    def __init__(self, config: MoeRunnerConfig, asked: limits.Threshold) -> None:
        self.config = config
        self.small = MoeRunner(MoeRunnerBackend.TRITON, config)
        self.large = MoeRunner(MoeRunnerBackend.TRITON_KERNELS, config)
        self.shape = (config.num_experts, config.hidden_size)
        self.log = Log(self.shape)
        self.asked = asked
        self._kept: Tuple[Any, Any] = (None, None)
        if asked != limits.AUTO:
            # A number that was given serves eager calls and graphs.
            settled(self.shape, Thresholds(asked, asked))

    def settle(self, layer: Any) -> None:
        """Find the thresholds once the weights are there, if it was left to us."""
        if self.asked == limits.AUTO:
            from sglang.srt.adaptive_moe.profile import thresholds

            settled(self.shape, thresholds(layer, self.config))

    def run(self, layer: Any, dispatch_output: Any) -> Any:
        """What the batch's TopK output is of decides, so both always agree."""
        tokens = dispatch_output.hidden_states.shape[0]
        if dispatch_output.topk_output.format.is_triton_kernels():
            self.log.called(LARGE, tokens)
            weights = TritonKernelsQuantInfo(layer.w13_weight, layer.w2_weight, *_biases(layer))
            return self.large.run(dispatch_output, weights)
        self.log.called(SMALL, tokens)
        return self.small.run(dispatch_output, self._views(layer))

    def _views(self, layer: Any) -> TritonMoeQuantInfo:
        """The weights as SGLang's kernel has them, [E, N, K]: transposed views, made anew when the storage changes."""
        w13, w2 = layer.w13_weight, layer.w2_weight
        storage = (w13.data_ptr(), w2.data_ptr())
        if storage != self._kept[0]:
            views = (weight.data.transpose(1, 2) for weight in (w13, w2))
            self._kept = storage, TritonMoeQuantInfo(*views, *_biases(layer))
        return self._kept[1]


def _biases(layer: Any) -> Tuple[Optional[torch.Tensor], Optional[torch.Tensor]]:
    return getattr(layer, "w13_weight_bias", None), getattr(layer, "w2_weight_bias", None)

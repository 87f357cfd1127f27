"""One MoE layer with two backends over one storage of its weights. Chooses nothing: TopK's output says which one."""

from typing import Any, Optional, Tuple

from sglang.srt.adaptive_moe import limits
from sglang.srt.adaptive_moe.choice import LARGE, SMALL, Log, Thresholds, settled
from sglang.srt.layers.moe import MoeRunner, MoeRunnerBackend, MoeRunnerConfig
from sglang.srt.layers.moe.moe_runner.triton import TritonMoeQuantInfo
from sglang.srt.layers.moe.moe_runner.triton_kernels import TritonKernelsQuantInfo

Weights = Tuple[TritonMoeQuantInfo, TritonKernelsQuantInfo]


def adaptive(layer: Any, runner: MoeRunner, with_bias: bool) -> Optional["AdaptiveMoe"]:
    """The two backends of a layer where the server was started with the flag. Raises ValueError for one not served."""
    asked = limits.asked()
    if asked is None:
        return None
    limits.check_layer(layer, runner.config, with_bias)
    return AdaptiveMoe(runner.config, asked)


class AdaptiveMoe:
    """`small` is SGLang's own runner, `large` that of triton_kernels; the weights lie as `large` wants them, [E, K, N].

    There triton_kernels is up to 7 % faster than over a view, and SGLang's kernel, at most sizes, faster too.
    """

    def __init__(self, config: MoeRunnerConfig, asked: limits.Threshold) -> None:
        self.config = config
        self.small = MoeRunner(MoeRunnerBackend.TRITON, config)
        self.large = MoeRunner(MoeRunnerBackend.TRITON_KERNELS, config)
        self.shape = (config.num_experts, config.hidden_size)
        self.log = Log(self.shape)
        self.asked = asked
        self._storage: Optional[Tuple[int, int]] = None
        self._kept: Weights
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
        small, large = self._weights(layer)
        tokens = dispatch_output.hidden_states.shape[0]
        if dispatch_output.topk_output.format.is_triton_kernels():
            self.log.called(LARGE, tokens)
            return self.large.run(dispatch_output, large)
        self.log.called(SMALL, tokens)
        return self.small.run(dispatch_output, small)

    def _weights(self, layer: Any) -> Weights:
        """As each backend takes them; for SGLang's kernel transposed views, [E, N, K]. Made anew for a new storage."""
        # Past the look-up of nn.Module, which is slow, and of what a layer lacks slower still.
        parameters = layer._parameters
        w13, w2 = parameters["w13_weight"], parameters["w2_weight"]
        storage = (w13.data_ptr(), w2.data_ptr())
        if storage != self._storage:
            biases = parameters.get("w13_weight_bias"), parameters.get("w2_weight_bias")
            views = (weight.data.transpose(1, 2) for weight in (w13, w2))
            self._kept = TritonMoeQuantInfo(*views, *biases), TritonKernelsQuantInfo(w13, w2, *biases)
            self._storage = storage
        return self._kept

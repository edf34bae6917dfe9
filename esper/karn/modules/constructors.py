"""Which module each blueprint stands for, and how its parameters reach the constructor."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from torch import nn

from esper.karn.modules import (
    attention,
    channelwise,
    convolutions,
    diagnostics,
    experimental,
    experts,
    gates,
    graph,
    pooling,
    running_norm,
    transformer,
)
from esper.karn.route import Route
from esper.karn.widths import hidden_width, odd_kernel, pyramid_width

Chosen: TypeAlias = Mapping[str, float]
Constructor: TypeAlias = Callable[[Route, Chosen], nn.Module]

_CHANNELWISE: Mapping[str, Constructor] = {
    "BP004": lambda way, chosen: channelwise.LightDropout(share=chosen["dropout"]),
    "BP005": lambda way, chosen: channelwise.MixedActivation(way, nn.ReLU()),
    "BP006": lambda way, chosen: running_norm.MixedBatchNorm(way, momentum=chosen["momentum"]),
    "BP008": lambda way, chosen: channelwise.skip_connection(way),
    "BP011": lambda way, chosen: channelwise.MixedActivation(way, nn.GELU()),
    "BP012": lambda way, chosen: channelwise.LayerScale(way, scale=chosen["scale"]),
    "BP014": lambda way, chosen: gates.HighwayGate(way, bias=chosen["gate_bias"]),
    "BP017": lambda way, chosen: gates.ChannelAttention(way, heads=int(chosen["heads"])),
    "BP018": lambda way, chosen: gates.SpatialAttention(way, radius=int(chosen["radius"])),
    "BP-LN-RMS": lambda way, chosen: running_norm.RootMeanSquareNorm(way),
    "BP-PROJ-IA3": lambda way, chosen: channelwise.InfusedGain(way),
}
_NEIGHBOURS: Mapping[str, Constructor] = {
    "BP007": lambda way, chosen: pooling.MixedMaxPool(way, kernel=odd_kernel(chosen["kernel"])),
    "BP010": lambda way, chosen: convolutions.ConcatFusion(way, branches=int(chosen["branches"])),
    "BP013": lambda way, chosen: convolutions.GroupedConvolution(way, groups=int(chosen["groups"])),
    "BP025": lambda way, chosen: convolutions.DynamicConvolution(way, experts=int(chosen["experts"])),
    "BP026": lambda way, chosen: pooling.PooledContext(way, size=int(chosen["output_size"])),
    "BP027": lambda way, chosen: pooling.FeaturePyramid(
        way, levels=int(chosen["levels"]), width=pyramid_width(way.channels_in)
    ),
    "BP028": lambda way, chosen: convolutions.DenseConnection(way, growth=int(chosen["growth_rate"])),
    "BP030": lambda way, chosen: graph.GraphAttention(way, hops=int(chosen["hops"])),
    "BP031": lambda way, chosen: convolutions.TemporalConvolution(way, dilation=int(chosen["dilation"])),
    "BP032": lambda way, chosen: convolutions.DilatedConvolution(way, dilation=int(chosen["dilation"])),
    "BP033": lambda way, chosen: convolutions.DeformableConvolution(way, offset_groups=int(chosen["offset_groups"])),
}
_ATTENTION: Mapping[str, Constructor] = {
    "BP019": lambda way, chosen: attention.CrossAttention(way, heads=int(chosen["heads"])),
    "BP020": lambda way, chosen: attention.BlockAttention(way, length=int(chosen["sequence_length"])),
    "BP022": lambda way, chosen: attention.ManyHeadedAttention(way, heads=int(chosen["heads"])),
    "BP023": lambda way, chosen: transformer.TransformerBlock(way, layers=int(chosen["layers"])),
    "BP024": lambda way, chosen: transformer.ConvolutionTransformer(way, kernel=odd_kernel(chosen["kernel"])),
    "BP029": lambda way, chosen: attention.ManyHeadedAttention(way, heads=int(chosen["heads"])),
    "BP034": lambda way, chosen: attention.NonLocal(way, window=int(chosen["window"])),
    "BP035": lambda way, chosen: attention.LearnedPositions(way, frequency=chosen["frequency"]),
    "BP-ATTN-STD": lambda way, chosen: attention.PositionedAttention(
        way, heads=int(chosen["heads"]), sinusoid=chosen["position"] == 1.0
    ),
    "BP-ATTN-SPLIT-QK": lambda way, chosen: attention.SplitAttention(way, multiple=chosen["kv_mult"]),
    "BP-KV-CACHE-8BIT": lambda way, chosen: attention.CachedAttention(way),
    "BP-FLASH-ATTN-V2": lambda way, chosen: attention.FlashAttention(way),
    "BP-KV-GROUPED-ROPE": lambda way, chosen: attention.GroupedQueryAttention(
        way, groups=int(chosen["groups"]), base=chosen["rope_base"]
    ),
    "BP-MLP-GELU-2048": lambda way, chosen: transformer.WideFeedForward(
        way, hidden=hidden_width(way.channels_out, chosen["mult"])
    ),
    "BP-MLP-SWIGLU-4096": lambda way, chosen: transformer.FusedGatedFeedForward(
        way, hidden=hidden_width(way.channels_out, chosen["mult"])
    ),
}
_EXPERTS: Mapping[str, Constructor] = {
    "BP036": lambda way, chosen: experts.MixtureOfExperts(
        way, experts=int(chosen["experts"]), capacity=chosen["capacity"]
    ),
    "BP-ROUTER-TOP2": lambda way, chosen: experts.NoisyRouter(
        way, experts=int(chosen["experts"]), noise=chosen["noise"]
    ),
    "BP-EXPERT-MLP-1D": lambda way, chosen: experts.ExpertLayers(
        way,
        hidden=hidden_width(way.channels_in, chosen["width"]),
        depth=int(chosen["depth"]),
        experts=int(chosen["num_experts"]),
        gated=False,
    ),
    "BP-EXPERT-MLP-SWIGLU": lambda way, chosen: experts.ExpertLayers(
        way,
        hidden=hidden_width(way.channels_in, chosen["width"]),
        depth=int(chosen["depth"]),
        experts=int(chosen["num_experts"]),
        gated=True,
    ),
    "BP-CAP-FUSE-HFFN": lambda way, chosen: experts.SortedExperts(way, capacity=chosen["capacity"]),
    "BP-ROUTER-MOE-AUXLOSS": lambda way, chosen: experts.BalancedRouter(way, weight=chosen["weight"]),
    "BP-ALL-REDUCE-SHARD": lambda way, chosen: experts.ReducedExperts(way),
    "BP-LOAD-BAL-EMA": lambda way, chosen: experts.LoadBalancedRouter(
        way, decay=chosen["decay"], strength=chosen["beta"]
    ),
}
_EXPERIMENTAL: Mapping[str, Constructor] = {
    "BP037": lambda way, chosen: experimental.HierarchicalAttention(way, levels=int(chosen["levels"])),
    "BP038": lambda way, chosen: experimental.MemoryReader(way, slots=int(chosen["memory_slots"])),
    "BP039": lambda way, chosen: experimental.OrdinaryDifferentialEquation(way, steps=int(chosen["steps"])),
    "BP040": lambda way, chosen: experimental.ArchitectureMix(way, temperature=chosen["temperature"]),
    "BP041": lambda way, chosen: experimental.FastWeights(way, steps=int(chosen["adapt_steps"])),
    "BP042": lambda way, chosen: experimental.RecursiveBlock(way, depth=int(chosen["depth"])),
    "BP-MON-ACT-STATS": lambda way, chosen: diagnostics.ActivationStatistics(way, bins=int(chosen["bins"])),
    "BP-CLAMP-GRAD-NORM": lambda way, chosen: diagnostics.GradientClamp(norm=chosen["norm"]),
}

CONSTRUCTORS: Mapping[str, Constructor] = MappingProxyType(
    {**_CHANNELWISE, **_NEIGHBOURS, **_ATTENTION, **_EXPERTS, **_EXPERIMENTAL}
)

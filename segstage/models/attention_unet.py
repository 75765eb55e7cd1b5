"""Attention U-Net: a U-Net whose skip connections pass additive attention gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from segstage.models._encoders import DEFAULT_ENCODER
from segstage.models._registry import register
from segstage.models._smp import SmpSegmenter
from segstage.models.unet import DECODER_CHANNELS

# sigmoid(2) = 0.88: gates start almost open, as in the paper (its section 2.1).
_OPEN = 2.0


class AttentionGate(nn.Module):
    """Additive attention gate (Oktay et al., MIDL 2018, arXiv 1804.03999, equations 1 and 2).

    ``a = sigmoid(psi(relu(W_x x + W_g g + b_g)) + b_psi)``, all maps 1x1 convolutions. The gating
    signal is brought to the size of the skip, where the paper strides the skip down to it and
    scales the coefficients up again: the same sum, at the finer of both resolutions.

    Parameters
    ----------
    skip_channels, gate_channels : int
        Channels of the skip connection and of the coarser decoder signal.
    inner_channels : int, optional
        Channels of the sum; left out, half of the skip's.
    """

    def __init__(
        self, skip_channels: int, gate_channels: int, inner_channels: int | None = None
    ) -> None:
        super().__init__()
        inner = inner_channels or max(skip_channels // 2, 1)
        self.skip = nn.Conv2d(skip_channels, inner, 1, bias=False)
        self.gate = nn.Conv2d(gate_channels, inner, 1)
        self.psi = nn.Conv2d(inner, 1, 1)
        for layer in (self.skip, self.gate):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(self.gate.bias)  # type: ignore[arg-type]
        nn.init.xavier_uniform_(self.psi.weight)
        nn.init.constant_(self.psi.bias, _OPEN)  # type: ignore[arg-type]

    def coefficients(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Return how much of each place of the skip passes, (B, 1, H, W) in (0, 1).

        Parameters
        ----------
        skip : (B, skip_channels, H, W)
        gate : (B, gate_channels, h, w)
            Of any size; scaled to (H, W) linearly.
        """
        # A 1x1 convolution and a linear resize may change places: this way round is cheaper.
        signal = interpolate(self.gate(gate), skip.shape[-2:], mode="bilinear", align_corners=False)
        return torch.sigmoid(self.psi(relu(self.skip(skip) + signal)))

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        """Return the skip, (B, skip_channels, H, W), times its coefficients."""
        return skip * self.coefficients(skip, gate)


@register("attention_unet")
class AttentionUNet(SmpSegmenter):
    """The `segstage.models.unet.UNet` of the same options, with a gate on each skip connection.

    Encoder, decoder and widths are those of the U-Net, so that a comparison of both measures the
    gates (0.02 M of 3.8 M parameters). Source: Oktay et al., "Attention U-Net: Learning Where to
    Look for the Pancreas", MIDL 2018, arXiv 1804.03999.

    Parameters
    ----------
    encoder : str
        An encoder of smp ("resnet34") or "tu-" and a timm architecture ("tu-convnext_tiny").
    encoder_weights : str
        See `weights.imagenet.load_imagenet`.
    decoder_channels : sequence of int
        Channels of the decoder's stages, from the deepest; as many as the encoder has depths.
    deep_supervision : bool
        Let each coarser decoder stage predict the mask too while training, by a 1x1 convolution
        whose logits are scaled up to the picture (Lee et al., AISTATS 2015). The loss is the mean
        over the stages, weighted 1 for the finest, which is the prediction, then 1/2, 1/4, ... (as
        in nnU-Net, Isensee et al., Nature Methods 2021). `forward` does not compute them.
    """

    summary = "U-Net with additive attention gates; {deep_supervision: true} by choice"
    title = "Attention U-Net"

    def __init__(
        self,
        encoder: str = DEFAULT_ENCODER,
        encoder_weights: str = "auto",
        decoder_channels: Sequence[int] = DECODER_CHANNELS,
        deep_supervision: bool = False,
    ) -> None:
        channels = [int(count) for count in decoder_channels]
        super().__init__(
            smp.Unet,
            encoder,
            encoder_weights,
            {"encoder_depth": len(channels), "decoder_channels": channels},
            {"decoder_channels": channels, "deep_supervision": bool(deep_supervision)},
        )
        features = self.encoder.out_channels
        skips = features[-2:0:-1]
        # Transformers have no map at half size: smp gives one without channels, nothing to gate.
        self.gates = nn.ModuleList(
            AttentionGate(skip, gate) if skip else nn.Identity()
            for skip, gate in zip(skips, [features[-1], *channels], strict=False)
        )
        coarse = channels[:-1] if deep_supervision else []
        self.auxiliary = nn.ModuleList(nn.Conv2d(count, 1, 1) for count in coarse)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, 1, H, W) of images (B, 3, H, W); H and W multiples of 32."""
        network: Any = self.network
        return network.segmentation_head(self._stages(images)[-1])  # type: ignore[no-any-return]

    def loss(
        self, images: Tensor, truth: Tensor, criterion: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Return the criterion of the logits, with those of the coarser stages if so chosen."""
        network: Any = self.network
        stages = self._stages(images)
        total = criterion(network.segmentation_head(stages[-1]), truth)
        weight = whole = 1.0
        pairs = zip(self.auxiliary, stages, strict=False)
        for head, stage in reversed(list(pairs)):
            weight /= 2
            whole += weight
            logits = interpolate(
                head(stage), truth.shape[-2:], mode="bilinear", align_corners=False
            )
            total = total + weight * criterion(logits, truth)
        return total / whole

    def _stages(self, images: Tensor) -> list[Tensor]:
        """Return what each stage of the decoder gives, the coarsest first."""
        network: Any = self.network
        features = network.encoder(images)
        sizes = [feature.shape[-2:] for feature in features[-2::-1]]
        skips = features[-2:0:-1]
        signal = network.decoder.center(features[-1])
        stages: list[Tensor] = []
        for number, block in enumerate(network.decoder.blocks):
            skip = skips[number] if number < len(skips) else None
            if skip is not None and skip.shape[1]:
                skip = self.gates[number](skip, signal)
            signal = block(signal, *sizes[number], skip_connection=skip)
            stages.append(signal)
        return stages

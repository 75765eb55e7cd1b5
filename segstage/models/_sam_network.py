"""SAM's parts put together, with a mask decoder that takes batches of images."""

from __future__ import annotations

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn


class BatchDecoder(MaskDecoder):
    """SAM's mask decoder for a batch of images with one prompt each.

    The original repeats each embedding for every prompt, so it fails on two images. The parameters
    are the same; only the mask for one object is made, which needs one of its four heads.
    """

    def forward(  # type: ignore[override]
        self, embeddings: Tensor, position: Tensor, sparse: Tensor, dense: Tensor
    ) -> Tensor:
        """Return logits (B, 1, 4h, 4w) of embeddings (B, C, h, w) and their embedded prompts."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        source = embeddings + dense
        batch, channels, height, width = source.shape
        found, source = self.transformer(source, position.expand(batch, -1, -1, -1), tokens)
        source = source.transpose(1, 2).reshape(batch, channels, height, width)
        fine = self.output_upscaling(source)
        weights = self.output_hypernetworks_mlps[0](found[:, 1])
        return torch.einsum("bc,bchw->bhw", weights, fine)[:, None]


class PromptedNetwork(nn.Module):
    """Image encoder, prompt encoder and mask decoder, in the names of SAM's checkpoints.

    Parameters
    ----------
    image_encoder : Module
        From (B, 3, size, size) to (B, channels, grid, grid).
    size, grid : int
        Side of the network's picture, and of its embedding.
    channels : int
    """

    def __init__(self, image_encoder: nn.Module, size: int, grid: int, channels: int = 256) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(size, size),
            mask_in_chans=16,
        )
        self.mask_decoder = BatchDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=channels, mlp_dim=8 * channels, num_heads=8
            ),
            transformer_dim=channels,
            iou_head_depth=3,
            iou_head_hidden_dim=channels,
        )

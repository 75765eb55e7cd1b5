"""A small diffusion network that draws a lesion and its mask together.

The picture has four planes: red, green, blue, and the mask as -1 and 1. Drawn together they fit
each other. The class is the diagnosis. Network and noise schedules are those of `diffusers` (extra
`synthesis`), on a cosine schedule with no signal left at its end (Lin et al., WACV 2024), sampled
by DDIM (Song et al., ICLR 2021).

The network says what the clean picture is, not what the noise is: skin is smooth, so a small
network is near the answer after some hundred steps, while one that has to hand the noise through
draws nothing but noise by then (tried: v-prediction, 280 steps). Its loss is weighed by the
signal-to-noise ratio between 1 (Salimans and Ho, ICLR 2022) and 5 (Hang et al., ICCV 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lesioncore.config import FitOptions
from lesioncore.errors import LesionError
from lesioncore.training import optimiser_and_schedule

PLANES = 4
#: Features at each resolution, multiples of 8. The first is half that of the picture: four pixels
#: are seen as one of sixteen planes, which makes a step on a CPU twice as fast.
CHANNELS = (32, 64, 96)
_PATCH = 2
_WEIGHTS = (1.0, 5.0)
_SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "sample",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def check_diffusers() -> None:
    """Refuse to begin without the library.

    Raises
    ------
    LesionError
    """
    from importlib.util import find_spec

    if find_spec("diffusers") is None:
        raise LesionError(
            "the package diffusers is not installed",
            wanted="the extra `synthesis`, for --method generate",
            mend="pip install 'lesion-pipeline[synthesis]', or --method transplant",
        )


class LesionDiffusion(nn.Module):
    """The network: noisy planes in, clean ones out; made by `create_generator`."""

    def __init__(self, size: int, classes: int, channels: Sequence[int]) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        plain = len(channels) - 1
        self.unet: Any = UNet2DModel(
            sample_size=size // _PATCH,
            in_channels=PLANES * _PATCH**2,
            out_channels=PLANES * _PATCH**2,
            layers_per_block=1,
            block_out_channels=tuple(channels),
            down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
            norm_num_groups=8,
            attention_head_dim=16,
            num_class_embeds=classes,
        )

    def forward(self, planes: Tensor, steps: Tensor, labels: Tensor) -> Tensor:
        """Return (B, 4, S, S) clean planes of noisy ones at (B,) or one step, for (B,) classes."""
        seen = nn.functional.pixel_unshuffle(planes, _PATCH)
        clean: Tensor = self.unet(seen, steps, class_labels=labels).sample
        return nn.functional.pixel_shuffle(clean, _PATCH)


def create_generator(
    size: int, classes: int, channels: Sequence[int] = CHANNELS
) -> LesionDiffusion:
    """Return a new network for (B, 4, size, size) pictures of that many classes.

    Parameters
    ----------
    size : int
        A multiple of 8.
    classes : int
    channels : sequence of int
        Features at each resolution, multiples of 8 (of 16 the last).
    """
    return LesionDiffusion(size, classes, channels)


class DiffusionTask(pl.LightningModule):
    """Learns to take noise out of pictures; logs ``train_loss`` (weighed mean square).

    Parameters
    ----------
    network : Module
        From `create_generator`.
    options : FitOptions
    steps_per_epoch : int
    """

    def __init__(self, network: nn.Module, options: FitOptions, steps_per_epoch: int) -> None:
        super().__init__()
        from diffusers import DDPMScheduler

        self.network = network
        self.options = options
        self.steps_per_epoch = steps_per_epoch
        self.noise: Any = DDPMScheduler(**_SCHEDULE)

    def training_step(self, batch: dict[str, Tensor], _number: int) -> Tensor:
        """Return the loss of a batch: `planes` (B, 4, S, S) in -1 to 1, `label` (B,)."""
        planes, label = batch["planes"], batch["label"]
        steps = torch.randint(
            0, _SCHEDULE["num_train_timesteps"], (len(planes),), device=planes.device
        )
        seen = self.noise.add_noise(planes, torch.randn_like(planes), steps)
        kept = self.noise.alphas_cumprod.to(planes.device)[steps]
        weight = (kept / (1 - kept).clamp_min(1e-6)).clamp(*_WEIGHTS)
        error = (self.network(seen, steps, label) - planes).square().mean(dim=(1, 2, 3))
        loss = (weight * error).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(planes))
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW with warm-up and cosine."""
        return optimiser_and_schedule(self.network.parameters(), self.options, self.steps_per_epoch)


@torch.inference_mode()
def sample(
    network: nn.Module,
    labels: Sequence[int],
    seeds: Sequence[Sequence[int]],
    size: int,
    *,
    steps: int,
    device: torch.device,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return pictures and masks drawn from noise.

    Parameters
    ----------
    network : Module
        On `device`, in evaluation mode.
    labels : sequence of int, length B
        Class of each.
    seeds : sequence of sequences of int, length B
        Of the noise of each; drawn on the CPU, so that it is the same on every device.
    size : int
        Side, pixels.
    steps : int
        Of DDIM.
    device : torch.device

    Returns
    -------
    images : (B, size, size, 3) uint8 RGB
    masks : (B, size, size) float32
        Above 0 on the lesion.
    """
    from diffusers import DDIMScheduler

    schedule: Any = DDIMScheduler(**_SCHEDULE, clip_sample=True)
    schedule.set_timesteps(steps)
    noise = [
        np.random.default_rng(list(seed)).standard_normal((PLANES, size, size)) for seed in seeds
    ]
    planes = torch.from_numpy(np.stack(noise)).float().to(device)
    label = torch.tensor(list(labels), device=device)
    for step in schedule.timesteps:
        clean = network(planes, step.to(device), label)
        planes = schedule.step(clean, step, planes).prev_sample
    values = planes.cpu().numpy()
    images = np.rint((values[:, :3].clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), values[:, 3]

"""The encoders that are tested by name, with what it takes to train them."""

from __future__ import annotations

from dataclasses import dataclass

from clsstage.encoders.records import EncoderRecord, encoder_record
from lesioncore.errors import unknown_name

LARGEST_BATCH = 64  # the ISIC 2020 winners'
_GPU_MB = 16 * 1024
_BYTES_A_PARAMETER = 16  # weight, gradient and AdamW's two averages, float32


@dataclass(frozen=True)
class EncoderPreset:
    """A named encoder; size, mean, std, licence and origin are its weight's record's.

    Attributes
    ----------
    name : str
        What `--encoder` takes; with the tag of the weight where one must be said.
    role : str
        What it is here for.
    parameters : float
        Millions, without the last layer.
    activations_mb : int
        MiB that an image of its own size keeps for the backward pass, at 32 bits.
    backbone : float
        Part of the head's rate at which its last layer learns; a start, see the docs.
    layer_decay : float
        Factor from each layer's rate to that of the layer below.
    """

    name: str
    role: str
    parameters: float
    activations_mb: int
    backbone: float = 1.0
    layer_decay: float = 1.0

    @property
    def record(self) -> EncoderRecord:
        """What the publishers of its weights say of them (timm is imported)."""
        return encoder_record(self.name)

    @property
    def batch(self) -> int:
        """The largest power of two, up to 64, that a 16 GB GPU trains at 16 bits.

        An estimate: 16 bits halve the activations, a quarter of the memory is left for the rest.
        """
        free = 0.75 * _GPU_MB - self.parameters * 1e6 * _BYTES_A_PARAMETER / 2**20
        batch = LARGEST_BATCH
        while batch > 1 and batch * self.activations_mb / 2 > free:
            batch //= 2
        return batch


_PRESETS = (
    EncoderPreset("tf_efficientnet_lite0", "default: small, quick, weights as a package", 3.4, 76),
    EncoderPreset("tf_efficientnet_b0", "ISIC 2020 family", 4.0, 85, 0.2),
    EncoderPreset("tf_efficientnet_b1", "ISIC 2020 family", 6.5, 137, 0.2),
    EncoderPreset("tf_efficientnet_b2", "ISIC 2020 family", 7.7, 174, 0.2),
    EncoderPreset("tf_efficientnet_b3", "ISIC 2020 winners", 10.7, 299, 0.2),
    EncoderPreset("tf_efficientnet_b4", "ISIC 2020 winners", 17.5, 625, 0.1),
    EncoderPreset("tf_efficientnet_b5", "ISIC 2020 winners", 28.3, 1251, 0.1),
    EncoderPreset("tf_efficientnet_b6.ns_jft_in1k", "ISIC 2020 winners", 40.7, 2117, 0.1),
    EncoderPreset("tf_efficientnet_b7.ns_jft_in1k", "ISIC 2020 winners", 63.8, 3675, 0.1),
    EncoderPreset("seresnext101_32x4d", "ISIC 2020 winners", 46.9, 194, 0.2),
    EncoderPreset("resnest101e", "ISIC 2020 winners", 46.2, 234, 0.2),
    EncoderPreset("convnextv2_nano", "ISIC 2024", 15.0, 101, 0.2, 0.9),
    EncoderPreset("eva02_small_patch14_336", "ISIC 2024", 21.7, 282, 0.1, 0.8),
    EncoderPreset("edgenext_base", "ISIC 2024", 17.9, 121, 0.2),
    EncoderPreset("vit_base_patch16_224", "transformer", 85.8, 133, 0.1, 0.75),
    EncoderPreset("vit_base_patch16_clip_224.openai", "CLIP's image half", 85.8, 134, 0.1, 0.65),
    EncoderPreset("resnet50", "baseline", 23.5, 82, 0.2),
    EncoderPreset("inception_v3", "baseline", 21.8, 94, 0.2),
    EncoderPreset("vgg16_bn", "teaching baseline", 134.3, 121, 0.1),
    EncoderPreset("alexnet", "teaching baseline, torchvision's", 57.0, 4, 0.1),
)


def encoder_presets() -> tuple[EncoderPreset, ...]:
    """Return all presets, in the order of the docs."""
    return _PRESETS


def encoder_preset(name: str) -> EncoderPreset:
    """Return the preset of an encoder; an unknown name is a `UsageError` that lists the known."""
    for preset in _PRESETS:
        if preset.name == name:
            return preset
    raise unknown_name("encoder preset", name, [preset.name for preset in _PRESETS])

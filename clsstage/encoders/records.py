"""What the publishers of an encoder's weights record about them: size, mean, std, licence."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from lesioncore.errors import UsageError, unknown_name

ALEXNET = "alexnet"


@dataclass(frozen=True)
class EncoderRecord:
    """The record of a weight, from timm or, for alexnet, from torchvision.

    Attributes
    ----------
    name : str
        With the weight's tag where there is one: ``resnet50.a1_in1k``.
    size : int
        Side of the square it was trained on, in pixels.
    mean, std : tuple of float
        Of RGB images in 0 to 1.
    fixed_size : bool
        Whether the network is built for one size (transformers).
    licence : str
        Of the weights; "unknown" where the record says none.
    origin : str
        Where the weights lie or come from; empty without weights.
    """

    name: str
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fixed_size: bool
    licence: str
    origin: str


def encoder_record(name: str) -> EncoderRecord:
    """Return the record of an encoder; without a tag, that of its default weights.

    Raises
    ------
    UsageError
        Unknown encoder or weight tag; near names are listed.
    """
    if name == ALEXNET:
        from torchvision.models import AlexNet_Weights

        weights = AlexNet_Weights.IMAGENET1K_V1
        eval_transform = weights.transforms()
        return EncoderRecord(
            name=f"{ALEXNET}.tv_in1k",
            size=eval_transform.crop_size[0],
            mean=tuple(eval_transform.mean),
            std=tuple(eval_transform.std),
            fixed_size=False,
            # Torchvision states none a weight; this is what timm says of its other weights.
            licence="bsd-3-clause",
            origin=weights.url,
        )
    import timm
    from timm.models import PretrainedCfg

    architecture, _, tag = name.partition(".")
    check_encoder_name(name)
    # A network that never had weights has no record; timm then assumes these defaults too.
    config = timm.get_pretrained_cfg(name) or PretrainedCfg()
    tag = tag or config.tag or ""
    return EncoderRecord(
        name=f"{architecture}.{tag}" if tag else architecture,
        size=config.input_size[-1],
        mean=tuple(config.mean),
        std=tuple(config.std),
        fixed_size=config.fixed_input_size,
        licence=config.license or "unknown",
        origin=str(config.origin_url or config.hf_hub_id or config.url)
        if config.has_weights
        else "",
    )


def encoder_size(name: str) -> int:
    """Return the side of the images that an encoder's weights were trained on, in pixels."""
    return encoder_record(name).size


def check_encoder_name(name: str) -> None:
    """Raise a `UsageError` for a name that is neither timm's nor an adapter's."""
    import timm

    architecture, _, tag = name.partition(".")
    if name == ALEXNET:
        return
    if not timm.is_model(architecture):
        known = [*timm.list_models(), ALEXNET]
        near = difflib.get_close_matches(architecture, known, n=8)
        if not near:
            raise UsageError(
                f"unknown encoder {architecture!r}",
                wanted="alexnet, or the name of a timm image model",
                mend="clsstage models --encoders TEXT lists those that hold a text",
            )
        raise unknown_name("encoder", architecture, near)
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # how timm says that it does not know the tag
        tags = [weight.partition(".")[2] for weight in timm.list_pretrained(f"{architecture}.*")]
        raise unknown_name(f"weights of {architecture}", tag, tags) from error

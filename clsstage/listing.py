"""`clsstage models`: what can be trained."""

from __future__ import annotations

from clsstage.config import ModelsConfig


def models(config: ModelsConfig) -> None:
    """Print the classifier families, or the timm backbones of a pattern, to stdout."""
    if config.backbones is None:
        from clsstage.models import classifier_lines

        for name, line in classifier_lines().items():
            print(f"{name:<14}{line}")
        print('\nbackbones: any timm image model; clsstage models --backbones "*lite*" lists some')
        return
    import timm

    from lesioncore.errors import LesionError

    names = timm.list_models(config.backbones)
    if not names:
        raise LesionError(
            f"timm has no model that matches {config.backbones!r}",
            mend='a pattern such as "*efficientnet*"',
        )
    print("\n".join(names))

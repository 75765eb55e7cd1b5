"""Ground floor: records, readers, images, mask cache, geometry, transforms, splits, metrics."""

from lesioncore.errors import LesionError, UsageError

__all__ = ["LesionError", "UsageError"]

"""Stage 1: from a photograph to a lesion mask, and from an archive to a mask cache."""

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "LesionSegmenter": "segstage.predictor",
        "PostProcessing": "segstage.postprocess",
        "create_segmenter": "segstage.models",
        "segmenter_names": "segstage.models",
    },
)

"""Stage 2: from images focused by their lesion masks, and metadata, to the chance of malignancy."""

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "FOCUS_MODES": "clsstage.focus_names",
        "ClassPrediction": "clsstage.said",
        "LesionClassifier": "clsstage.predictor",
        "MetadataEncoder": "clsstage.metadata",
        "apply_focus": "clsstage.focus",
        "create_classifier": "clsstage.classifier",
        "fusion_names": "clsstage.fusion",
    },
)

"""End to end: one photograph to a probability, one archive to a report."""

from lesioncore.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "LesionPipeline": "pipelines.pipeline",
        "PipelineResult": "pipelines.pipeline",
    },
)

"""The program `lesion`. Commands are named here and imported only when called."""

from __future__ import annotations

from collections.abc import Sequence

from lesioncore.commands import Command, CommandTree, run_commands
from pipelines.audit_config import AuditConfig
from pipelines.cache_config import (
    CacheInfoConfig,
    CacheMeasureConfig,
    CacheMergeConfig,
    CacheVerifyConfig,
)
from pipelines.calibrate_config import CalibrateConfig
from pipelines.config import (
    DemoConfig,
    DoctorConfig,
    OverlayConfig,
    PredictConfig,
    RunConfig,
)
from pipelines.ensemble_config import EnsembleConfig
from pipelines.explain_config import ExplainConfig
from pipelines.export_config import ExportConfig
from pipelines.prepare_config import PrepareConfig
from pipelines.qa.config import QaConfig, QaExportConfig
from pipelines.report_config import ReportConfig
from pipelines.scoring_config import EvaluateConfig
from pipelines.serving.config import ServeConfig, SkinCheckConfig
from pipelines.stack_config import StackPredictConfig, StackTrainConfig
from pipelines.synthesis_config import SynthesizeConfig

COMMANDS: CommandTree = {
    "demo": Command(
        DemoConfig, "pipelines.demo:demo", "run the whole pipeline on generated lesions"
    ),
    "run": Command(
        RunConfig,
        "pipelines.run:run",
        "segment, cache, classify, predict, evaluate, overlay and report, once each",
        presets="pipelines.presets",
    ),
    "predict": Command(
        PredictConfig,
        "pipelines.predict:predict",
        "give photographs a probability of malignancy (not a diagnosis)",
        positional=("photos", "+"),
    ),
    "explain": Command(
        ExplainConfig,
        "pipelines.explain:explain",
        "show what the probability of photographs rests on",
        positional=("photos", "+"),
    ),
    "qa": Command(
        QaConfig,
        "pipelines.qa.commands:review",
        "look through masks in the browser: accept, reject, flag or mend each",
        commands={
            "export": Command(
                QaExportConfig,
                "pipelines.qa.commands:export",
                "write what reviewers decided into the cache, as PNG masks and as tables",
            )
        },
    ),
    "serve": Command(
        ServeConfig,
        "pipelines.serving.serve:serve",
        "answer over HTTP, with a page for people",
    ),
    "skin-check": Command(
        SkinCheckConfig,
        "pipelines.serving.skin_reference:make_reference",
        "make the reference by which serve refuses what is no skin lesion",
    ),
    "export": Command(
        ExportConfig,
        "pipelines.export:export",
        "write both stages as ONNX graphs that run without torch",
    ),
    "prepare": Command(
        PrepareConfig,
        "pipelines.prepare:prepare",
        "check an archive and write its manifest, or draw synthetic lesions",
    ),
    "synthesize": Command(
        SynthesizeConfig,
        "pipelines.synthesis.synthesize:synthesize",
        "make labelled malignant images from the training images of one fold",
    ),
    "overlay": Command(
        OverlayConfig, "pipelines.overlay:overlay", "draw cached masks on a contact sheet"
    ),
    "evaluate": Command(
        EvaluateConfig,
        "pipelines.scoring:evaluate",
        "score any table of predictions, with intervals and differences",
    ),
    "ensemble": Command(
        EnsembleConfig,
        "pipelines.ensembles.ensemble:ensemble",
        "join the scores of several models, and say what each of them adds",
    ),
    "stack": {
        "train": Command(
            StackTrainConfig,
            "pipelines.stack.train:train",
            "boost metadata, patient context, masks and image scores to one probability",
        ),
        "predict": Command(
            StackPredictConfig,
            "pipelines.stack.predict:predict",
            "predict new lesions with a trained stack",
        ),
    },
    "calibrate": Command(
        CalibrateConfig,
        "pipelines.calibrating:calibrate",
        "fit what scores mean on cases whose truth is known, and where to flag",
    ),
    "report": Command(
        ReportConfig,
        "pipelines.report:report",
        "write the report of a run, or of any table of predictions, as one HTML file",
    ),
    "audit": Command(
        AuditConfig,
        "pipelines.audit.audit:audit",
        "look for leaks, copies, shortcuts and faces before a score is believed",
    ),
    "doctor": Command(
        DoctorConfig, "pipelines.doctor:doctor", "check this machine, and a data set if named"
    ),
    "cache": {
        "info": Command(
            CacheInfoConfig,
            "pipelines.cache_admin:info",
            "say what mask caches hold",
            positional=("caches", "+"),
        ),
        "verify": Command(
            CacheVerifyConfig,
            "pipelines.cache_admin:verify",
            "check every mask of caches",
            positional=("caches", "+"),
        ),
        "merge": Command(
            CacheMergeConfig,
            "pipelines.cache_admin:merge",
            "make one cache of several with the same fingerprint",
            positional=("caches", "+"),
        ),
        "measure": Command(
            CacheMeasureConfig,
            "pipelines.measuring:measure_masks",
            "measure shape and colour of every lesion of a cache",
        ),
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `lesion` and return its exit code."""
    return run_commands(
        "lesion",
        "From a photograph of a skin lesion to a mask, a crop and a probability of malignancy, and "
        "from an archive to a report. A research tool, never a diagnosis.",
        COMMANDS,
        argv,
    )

"""Flags of `lesion serve` and `lesion skin-check`. Plain data: nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lesioncore.config import ComputeOptions, DataOptions
from pipelines.config import StageOptions


@dataclass(frozen=True, kw_only=True)
class ServeConfig(StageOptions):
    """Serve both stages over HTTP, with a page for people. Research use, not a diagnosis.

    Args:
        host: address to listen at; 0.0.0.0 is every network this machine is in
        port: port to listen at; 0 takes a free one and says which
        api_key_file: file with one key a line; requests then need one of them
        tls_cert: certificate chain (PEM); with tls_key, HTTPS in place of HTTP
        tls_key: private key of that certificate (PEM)
        allow_origin: web origin whose pages may call the API, such as https://portal.example; may
            be said several times; left out, none but the page served here
        workers: threads that compute; -1 is one a core, four at most, and one with a GPU
        batch: photographs that go through stage 1 together
        batch_wait_ms: how long the first of a batch waits for others, milliseconds
        queue: requests that may wait or be in work; the next is answered 429
        timeout: seconds until a request is given up
        max_megabytes: largest image file, in millions of bytes
        max_megapixels: largest image, in millions of pixels, looked up before it is decoded
        batch_images: largest number of images of one POST /predict/batch
        spool: folder that keeps batch jobs until they are done, and through a restart
        no_spool: keep nothing on disk; POST /predict/batch is then refused
        spool_images: images of batch jobs that may wait together; the next job is answered 429
        keep_minutes: how long images of a job, and results after the last of them, are kept at most
        skin_check: auto (skin.safetensors beside the classifier's weights), off, or a file of
            lesion skin-check
        calibration: auto (what the classifier's run or weights hold), none, or a file of
            lesion calibrate
        prevalence: part of the lesions here that is malignant; probabilities are moved to it
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_key_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_origin: list[str] = field(default_factory=list)
    batch: int = 8
    batch_wait_ms: float = 5.0
    queue: int = 64
    timeout: float = 30.0
    max_megabytes: float = 20.0
    max_megapixels: float = 50.0
    batch_images: int = 100
    spool: Path = Path("serve-spool")
    no_spool: bool = False
    spool_images: int = 2000
    keep_minutes: float = 60.0
    skin_check: str = "auto"
    calibration: str = "auto"
    prevalence: float | None = None

    def __post_init__(self) -> None:
        for name in ("batch", "queue", "batch_images", "spool_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: wanted 1 or more")
        for name in ("timeout", "max_megabytes", "max_megapixels", "keep_minutes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: wanted more than 0")
        if not 0 <= self.batch_wait_ms <= 1000:
            raise ValueError(f"batch_wait_ms is {self.batch_wait_ms}: wanted 0 to 1000")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}: wanted 0 to 65535")
        if self.keep_minutes > 60:
            raise ValueError(f"keep_minutes is {self.keep_minutes}: wanted 60 at most")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("one of tls_cert and tls_key: wanted both, or neither")
        if "*" in self.allow_origin:
            raise ValueError("allow_origin is *: wanted origins by name")

    @property
    def max_bytes(self) -> int:
        """Largest image file."""
        return int(self.max_megabytes * 1e6)

    @property
    def max_pixels(self) -> int:
        """Largest image."""
        return int(self.max_megapixels * 1e6)


@dataclass(frozen=True, kw_only=True)
class SkinCheckConfig(DataOptions, ComputeOptions):
    """Make the reference by which `lesion serve` refuses what is no skin lesion.

    Args:
        also: further archives of lesions like those that will be served, name to folder, such as
            --also.ham10000 DIR
        weights: run folder of `clsstage train`, a weights folder, or the name of weights that ship;
            left out, those
        out: file to write; left out, skin.safetensors beside the weights
        reference: how many lesions the reference holds
        calibrate: how many others set the limit
        false_refusals: part of such lesions that may be refused, 0.001 to 0.2
        test_list: auto (each archive's committed list), none, or a file of image ids; those lesions
            measure the refusals and are neither reference nor limit
        seed: draws the lesions
        max_failed: exit with 1 when more images than this could not be read
    """

    also: dict[str, Path] | None = None
    weights: Path | None = None
    out: Path | None = None
    reference: int = 500
    calibrate: int = 500
    false_refusals: float = 0.01
    test_list: str = "auto"
    seed: int = 0
    max_failed: int = 0

    def __post_init__(self) -> None:
        if not 0.001 <= self.false_refusals <= 0.2:
            raise ValueError(f"false_refusals is {self.false_refusals}: wanted 0.001 to 0.2")
        if self.reference < 10 or self.calibrate < 1:
            raise ValueError("wanted a reference of 10 or more, and 1 or more to calibrate")

"""The mask cache: the only thing that the two stages share (docs/reference/mask-cache.md)."""

from lesioncore.cache.codec import decode_payload, encode_payload
from lesioncore.cache.edits import Edit, add_edit, add_edits
from lesioncore.cache.entry import MaskEntry, MaskRow, threshold_level
from lesioncore.cache.fingerprint import (
    check_fingerprint,
    fingerprint_differences,
    fingerprint_sha256,
)
from lesioncore.cache.merge import merge_caches
from lesioncore.cache.reader import MaskCache
from lesioncore.cache.verify import verify_cache
from lesioncore.cache.writer import MaskCacheWriter

__all__ = [
    "Edit",
    "MaskCache",
    "MaskCacheWriter",
    "MaskEntry",
    "MaskRow",
    "add_edit",
    "add_edits",
    "check_fingerprint",
    "decode_payload",
    "encode_payload",
    "fingerprint_differences",
    "fingerprint_sha256",
    "merge_caches",
    "threshold_level",
    "verify_cache",
]

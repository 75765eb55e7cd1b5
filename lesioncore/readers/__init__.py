"""Readers: an archive in its official layout in, a manifest out."""

from lesioncore.readers.base import (
    Reader,
    create_reader,
    default_policy,
    load_manifest,
    reader_names,
    register,
    test_list,
)

__all__ = [
    "Reader",
    "create_reader",
    "default_policy",
    "load_manifest",
    "reader_names",
    "register",
    "test_list",
]

"""Readers: an archive in its official layout in, a manifest out."""

from lesioncore.readers.base import (
    Reader,
    create_reader,
    default_policy,
    has_own_parts,
    load_manifest,
    policy_of,
    reader_names,
    register,
    test_list,
)

__all__ = [
    "Reader",
    "create_reader",
    "default_policy",
    "has_own_parts",
    "load_manifest",
    "policy_of",
    "reader_names",
    "register",
    "test_list",
]

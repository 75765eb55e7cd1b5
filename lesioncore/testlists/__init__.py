"""Committed test lists: ids only, one file an archive, made by benchmarks/make_test_lists.py."""

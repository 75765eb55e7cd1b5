"""The maps from scores to probabilities, one a module."""

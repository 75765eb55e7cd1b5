"""Synthetic malignant images: transplanted lesions and drawn ones, with checks of both."""

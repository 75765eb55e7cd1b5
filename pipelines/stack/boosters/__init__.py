"""Gradient boosting by three libraries behind one face; each is imported only when used."""

"""Ensembles: the scores of several models joined into one, and what each of them adds."""

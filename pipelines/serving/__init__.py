"""`lesion serve`: both stages behind an HTTP API and a page."""

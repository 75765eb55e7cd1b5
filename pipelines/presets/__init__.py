"""Configs that ship, one a file; `--preset NAME` starts from one."""

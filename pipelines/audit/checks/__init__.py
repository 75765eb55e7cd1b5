"""The checks, a module each; `pipelines.audit.check` finds them by name."""

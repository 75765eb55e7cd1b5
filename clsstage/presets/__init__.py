"""Configs for `clsstage train --preset NAME`, one YAML file each; any flag wins over them."""

"""The `quantum` command: one module per command."""

"""Hooks: the connection, the HTTP client, nothing else."""

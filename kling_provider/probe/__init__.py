"""``python -m kling_provider.probe``: find out what a gateway really does, and which extras to set."""

"""Triggers: wait in the triggerer, without a worker."""

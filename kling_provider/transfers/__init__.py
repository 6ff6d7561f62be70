"""Transfers: from Kling's storage to yours."""

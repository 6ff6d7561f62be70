"""Operators: submit a task at Kling."""

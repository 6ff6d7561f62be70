"""Sensors: wait for a task at Kling."""

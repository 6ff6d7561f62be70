"""Kling's API as data and pure functions: no Airflow, no HTTP client, no clock, no threads."""

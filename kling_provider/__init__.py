"""Apache Airflow provider for Kling AI (可灵) video generation."""

# Import nothing here: Airflow loads this package while its own configuration is still starting.
__version__ = "0.1.0"

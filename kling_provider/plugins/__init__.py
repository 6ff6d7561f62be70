"""What Airflow's UI shows of Kling."""

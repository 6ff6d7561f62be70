"""Links from a task in Airflow's UI to its video and to Kling's console."""

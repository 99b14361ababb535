"""What people do every day, from the command line and from Dagster."""

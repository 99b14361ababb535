"""What changes what is live or stored, and what is new; from the command line and from Dagster."""

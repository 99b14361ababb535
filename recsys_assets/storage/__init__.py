"""Where everything is kept and how it is published; knows no Dagster."""

"""The artifacts: pure Polars, no Dagster, no files, no clock."""

"""What Dagster recorded of a step that failed."""

from __future__ import annotations

import dagster as dg


def failure_message(event: dg.DagsterEvent) -> str:
    """Return why the step of a failure event broke, in our words where they are ours."""
    error = event.step_failure_data.error
    # Dagster wraps ours; what ours was raised from says less.
    while error and error.cause and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return error.message if error else ""

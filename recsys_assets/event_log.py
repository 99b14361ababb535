"""Where a dagster.yaml of version 0.1 looks for the event log; gone when 0.3 is released."""

from recsys_assets.defs.event_log import PooledSqliteEventLogStorage

__all__ = ["PooledSqliteEventLogStorage"]

"""Everything that is Dagster's: the other modules know nothing of it.

`definitions.py` puts it together.
"""

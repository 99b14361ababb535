"""Raw sources, and raw lines to canonical events."""

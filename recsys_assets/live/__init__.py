"""Readers of what is live and of what was: nothing is changed here."""

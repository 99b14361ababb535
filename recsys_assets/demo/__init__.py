"""The real data set of the README."""

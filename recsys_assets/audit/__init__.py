"""One day, and what its checks find out: events, artifacts, and what is to become live.

Nothing is accepted here. What comes back lies in a scratch directory, with the verdict of every
check; who asked for it hands over what passed.
"""

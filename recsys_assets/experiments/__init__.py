"""Options that are tried on stored days, before they are put into surfaces.yaml.

Each module imports only from those above it:

    tried      which options there are to try, and the surfaces that they make
    windows    artifacts of a day with several sets of options
    replay     scores each set of options beside the current ones, day by day
    results    what the scores come to
"""

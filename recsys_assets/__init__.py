"""The offline factory of a recommender system: raw exposure events to published artifacts."""

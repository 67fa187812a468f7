"""Results of a run: metrics with their protocols, their table, the selection of weights, comparisons of runs."""

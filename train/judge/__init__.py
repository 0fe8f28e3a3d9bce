"""How good a model is: metrics with counts and intervals, evaluation of a run, paired tests between runs, calibration on val."""

"""Intervals of proportions, of the AUC and of predictive values."""

"""Bootstrap: weights and the paired bootstrap of every metric."""

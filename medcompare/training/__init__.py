"""From a split to a trained network, its predictions and its cost."""

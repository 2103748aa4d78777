"""Tables of predictions and costs, where training and statistics meet."""

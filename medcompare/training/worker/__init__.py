"""Training, prediction, maps and cost measurement, each in a process of its own."""

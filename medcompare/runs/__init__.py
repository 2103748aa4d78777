"""What a run leaves behind: folder, summary, history, changes, provenance, pruning."""

"""The networks: what they are (`zoo`), how they are built, where their weights come from."""

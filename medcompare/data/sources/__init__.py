"""Where images come from: folders, a CSV manifest, the demonstration data."""

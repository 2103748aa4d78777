"""A trained network goes to work: one folder with all that a score needs, and scores of new images from it."""

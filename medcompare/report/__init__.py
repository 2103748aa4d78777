"""Records to figures, HTML and PDF."""

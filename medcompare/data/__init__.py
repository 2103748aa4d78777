"""Demonstration data, ingest and validation, split, torch dataset."""

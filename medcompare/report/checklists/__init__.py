"""Reporting checklists: items and topics as TOML, facts from the records of a run, answers of the user."""

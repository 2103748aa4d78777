"""The decision rule: criteria, order of cost, findings and their wording."""

"""Everything a user can set: schema, presets, the form, errors, where each value came from."""

"""What every room stands on: records, errors, stored files, number formats, hardware, locks."""

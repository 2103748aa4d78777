"""Mail: settings, message, sending."""

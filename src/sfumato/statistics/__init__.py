"""Statistics over tidy rows."""

"""Published experiments, side by side with own numbers."""

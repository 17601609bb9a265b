"""Calibration of class probabilities: errors, bins, temperature."""

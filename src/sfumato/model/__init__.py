"""From a checkpoint to predictions on the input's own grid."""

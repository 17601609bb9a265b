"""A recipe: everything that decides a training."""

"""The loop: trains configurations over seeds, from the start or from where they were killed."""

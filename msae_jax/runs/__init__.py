"""Runs on disk: checkpoints, the run directory, the history of a run."""

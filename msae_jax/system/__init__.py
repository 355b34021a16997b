"""What the library needs of the system it runs on; knows nothing of models or training."""

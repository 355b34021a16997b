"""Files of weights, read and written without PyTorch; reading one never runs its code."""

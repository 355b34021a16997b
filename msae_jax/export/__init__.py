"""Weights leave for other programs: a part of a model as an ONNX or a StableHLO file."""

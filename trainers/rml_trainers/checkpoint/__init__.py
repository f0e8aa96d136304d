"""The whole state of a run as one folder of safetensors and JSON."""

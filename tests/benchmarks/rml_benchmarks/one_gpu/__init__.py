"""What `make gpu-evidence` checks, runs and keeps."""

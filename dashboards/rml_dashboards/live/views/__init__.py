"""What the live page shows, as plain values that JSON knows."""

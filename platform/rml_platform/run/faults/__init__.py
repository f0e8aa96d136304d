"""What keeps a run whole when machines fail: who may write to it, and what is tried again."""

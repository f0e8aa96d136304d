"""What a score means, how an image goes through a network, and how pixels are counted."""

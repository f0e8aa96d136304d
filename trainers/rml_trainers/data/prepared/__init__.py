"""Images decoded and resized once, and read from memory-mapped files ever after."""

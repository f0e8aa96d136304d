"""Published methods that spread labels between cells that are alike."""

"""Parts that measure the whole product: launches and commands."""

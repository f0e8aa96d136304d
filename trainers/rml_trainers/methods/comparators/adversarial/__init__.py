"""Published methods that learn against a discriminator."""

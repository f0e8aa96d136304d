"""Published methods with a network that judges the student: a discriminator or a corrector."""

"""Students and mean teachers, and every way in which a step runs them."""

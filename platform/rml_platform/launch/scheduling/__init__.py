"""Which run is next: order, fairness, priorities, and the wishes of people while a launch runs."""

"""From cells to runs: their ids, what is left to do, what it costs, and on which machine."""

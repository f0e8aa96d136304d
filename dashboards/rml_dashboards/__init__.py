"""From recorded runs to tables and figures: reads records only, trains nothing."""

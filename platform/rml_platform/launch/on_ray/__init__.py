"""The runs of a launch on Ray: Tune schedules, Train groups workers."""

"""Figures of filled tables: final scores, classes, ranks, profiles, gains and cost."""

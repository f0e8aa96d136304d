"""What is wrong with a study after a round: compared with the same study left alone."""

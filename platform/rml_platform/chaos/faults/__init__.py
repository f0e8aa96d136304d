"""What is done to a study: each fault one function, all of them in `catalogue.FAULTS`."""

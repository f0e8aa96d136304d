"""What stands in the records of a run: names, keys, states and file formats, each written once."""

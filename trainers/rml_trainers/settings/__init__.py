"""What a run can be told, apart from the settings of a single method, network or data set."""

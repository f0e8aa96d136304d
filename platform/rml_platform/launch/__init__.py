"""Many runs: on Ray Tune and Ray Train, or one by one in this process."""

"""What seeds tell: spread, intervals, paired differences, tests, ranks and power."""

"""Published methods that the paper compares with, each as its authors have it."""

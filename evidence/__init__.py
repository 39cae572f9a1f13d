"""What is claimed and what bears on it: claims and estimates, the store of results, whole files, progress."""

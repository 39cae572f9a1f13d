"""The pages that README links to, and what writes the numbers in them: `python -m docs`, which `make docs` runs."""

"""What follows from the rules: formula (sympy), closed (closed forms, each with its regime), attributed numbers, pull."""

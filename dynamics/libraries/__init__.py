"""What other libraries call a rule, where theirs differs, and how to read a live optimizer of theirs."""

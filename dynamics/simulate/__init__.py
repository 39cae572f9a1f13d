"""Many weights at once: lanes x steps under one rule and one kind of gradient.

lanes      `simulate`; kernel is its compiled loop, random its numbers, device the same lanes on a CUDA device
clock      what a rule's clock shows after a number of steps
together   `simulate_together`: weights that share a loss
gradients  where a toy weight's gradient comes from
schedules  the learning rate's multiplier over time
"""

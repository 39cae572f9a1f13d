"""Training runs watched filter by filter, and what they say of claim S6: do selective features see more regularization?

- run.py       Watch: what every step does to every filter, summed between two measurements
"""

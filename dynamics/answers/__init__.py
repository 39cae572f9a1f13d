"""Answers for people: what a setting does to a weight, what converts it into another, what a live optimizer does.

setting     a rule, a coupling and numbers, and how people write them down
decay_time  how long a weight without a gradient takes from one size to another; law, by which law it decays
pull_rate   how hard a regularizer pulls while gradients come and go, measured
predict     how large a weight stays under pure noise, by closed form or simulated
explain     what a setting does to a weight; curves, what there is to draw of it
schedule    a run's schedule by name; scheduler, of a live torch scheduler; course, what a setting does over the run
convert     the strength that gives one setting the pull of another
live        reading a live torch optimizer; parameters, what its groups hold; usual, what usually goes wrong
table       every rule with every coupling, in steps
"""

"""The commands of `undertow`, a file each. Every file has `add(commands)`: its flags and help, which load nothing heavy.

arguments   flags and values that commands share, and the parser that says mistakes in one line
explain     what settings do to a weight
convert     the strength that gives one setting the pull of another
reproduce   experiments, claims, figures, report
train       a CNN, its inactive filters, the smaller network
tune        the learning-rate grid
"""

from undertow.commands import claims, compare, convert, explain, fetch, measure, phase, prune, reproduce, train, tune

COMMANDS = {
    "explain": explain,
    "convert": convert,
    "claims": claims,
    "phase": phase,
    "reproduce": reproduce,
    "train": train,
    "measure": measure,
    "prune": prune,
    "compare": compare,
    "fetch": fetch,
    "tune": tune,
}

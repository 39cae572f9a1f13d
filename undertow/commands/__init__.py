"""The commands of `undertow`, a file each. Every file has `add(commands)`: its flags and help, which load nothing heavy.

arguments   flags and values that commands share, and the parser that says mistakes in one line
explain     what settings do to a weight
convert     the strength that gives one setting the pull of another
claims      what is claimed, and what the data say
reproduce   experiments, claims, figures, report
run         one toy world with other constants
phase       one phase diagram at full resolution
train       a CNN, its inactive filters, the smaller network
measure     inactive filters of a trained network
prune       dead filters taken out of it, with a certificate
compare     published pruning criteria beside the dead filters
fetch       the official archive of a data set
tune        the learning-rate grid
"""

from undertow.commands import (
    claims,
    compare,
    convert,
    explain,
    fetch,
    measure,
    phase,
    prune,
    reproduce,
    run,
    train,
    tune,
)

COMMANDS = {
    "explain": explain,
    "convert": convert,
    "claims": claims,
    "phase": phase,
    "reproduce": reproduce,
    "run": run,
    "train": train,
    "measure": measure,
    "prune": prune,
    "compare": compare,
    "fetch": fetch,
    "tune": tune,
}

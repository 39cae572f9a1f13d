"""A monitor for anyone's training loop: which filters die, when, and of what. One line adds it.

    monitor = Monitor(net, optimizer)

- core.py         Monitor: its hooks on the optimizer, the way on after a resume
- finding.py      the units are found in the first pass in training mode
- watched.py      what is watched of a network; slices.py: and how it follows from what modules put out
- look.py         the forward hooks; hook.py: that stay with their module
- memory.py       what has been seen so far
- gathered.py     what is summed up at every step
- standing.py     what the weights and the optimizer's state are before a step
- observation.py  one observation
- exact.py        all filters over a whole set of images
- stored.py       its state checked, and as a file
- state.py        an optimizer's state in the words of the rules
- carried.py      how much of the regularizer an optimizer's buffers keep
- updates.py      each update split into the loss's and the regularizer's part
- causes.py       of what a filter died
- deaths.py       when filters die and come back
- record.py       the observations, in bounded memory
- summary.py      as labelled data; which filters die next
- line.py         one line in the terminal
- lightning.py    callback for Lightning; huggingface.py: for the Trainer of Transformers
"""

from fullscale.monitor.core import Monitor
from fullscale.monitor.summary import die_next

__all__ = ["Monitor", "die_next"]

"""A randomised trial inside of networks, of what makes filters die: their gradients' size or rarity, the regularizer, memory.

- treatment.py what may be done to a filter's updates
- treated.py   some filters of a running network under a treatment
- run.py       one network: trained to the moment of treatment, then once under each arm
- arms.py      the arms, the seeds, the settings
- stored.py    what is missing, run and stored; the rows that come with the package
- estimate.py  one number a network: deaths among the treated filters beyond those of the same filters in the untreated twin
- claims.py    what follows for S6, decided before the runs

docs/interventions.md is the protocol, written before the first of these runs.
"""

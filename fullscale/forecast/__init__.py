"""Which filters will die, when and of what: a forecast from what a monitor has recorded up to a step.

- seen.py     what the forecast rests on: a record cut off at a step
- rates.py    what a rule makes of a gradient's size: how far it moves, how fast it is pulled
- course.py   how the filters of a layer go on from there, without a fitted number
- answer.py   the forecast as an answer: probability, step and mechanism of every filter
- dial.py     the smallest change of strength, learning rate or coupling that silences as many as one wants
- fitted.py   the same with fitted weights, to show what the theory leaves out
- recorded.py what a training run keeps for it
- score.py    how good a forecast was: area under the ROC curve, Brier score, reliability
- study.py    runs that the forecast was made on and tested on; claims.py: what they say
- live.py     the forecast of a monitor, and of a training run's file

Only live.py, recorded.py and dialled.py import torch.
"""

"""One file a figure: labelled data in, a picture out. Nothing here computes an experiment.

style      colours, lines, size: one style for all
silence    |w| without a gradient, under L2 and under weight decay
crossover  where L2 stops being the stronger pull
alive      filters alive against epochs in a real CNN
report     the page with all claims, numbers and figures
"""

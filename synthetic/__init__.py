"""Toy worlds in which the claims can be seen in seconds. Each file holds all its constants; none imports torch.

One weight:
silence          without a gradient, under L2 and under weight decay; laws, every rule on random settings
selective        a gradient that arrives now and then: how much stronger L2 pulls than decay
selectivity      the pull against selectivity, for every rule; doors, L2 and decay side by side in one run
visits           arrivals by chance or once an epoch: the critical selectivity
rest             where a restoring or a constant pull leaves it
phase            where it dies: diagrams of two settings each, the boundary computed
noise            its size under pure noise; scale_invariant, of weights before a normalization
quadratic        where it ends on a quadratic loss
scheduled        under learning-rate schedules

Features:
minibatch        batches of an epoch that visits each image once; batches, how many exciting images each holds
capacity         features that share a target or patterns
difficulty       gradients that stay large, patterns that outnumber features
feature          BatchNorm and ReLU with exact batch statistics, alone with its teacher
plane            the (gamma, beta) plane with its dead cone
compete          a layer of features of different selectivity

worlds           all of them under their names
claims           what is claimed of them
"""

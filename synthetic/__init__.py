"""Toy worlds in which the claims can be seen in seconds. Each file holds all its constants; none imports torch.

One weight, on the simulator's lanes:
silence          without a gradient, under L2 and under weight decay; laws, every rule on random settings
selective        a gradient that arrives now and then: how much stronger L2 pulls than decay
selectivity      the pull against selectivity, for every rule
visits           arrivals by chance or once an epoch: the critical selectivity
rest             where a restoring or a constant pull leaves it
phase            where it dies: diagrams of two settings each, the boundary computed
quadratic        where it ends on a quadratic loss; noisy_quadratic, where gradients are rare and noisy; stability, up to
                 which learning rate; bounded, how large any gradients can make it
scheduled        under learning-rate schedules
cone             a silent feature's scale and shift; residue, where their gradients were of unequal size

Weights whose gradients are made from all of them, or of normal noise, which lanes do not draw:
noise            the size under pure noise; scale_invariant, of weights before a normalization; walk, how often it comes to 0
minibatch        batches of an epoch that visits each image once; decays, L2 against two decays on them; starvation, how long
                 they bring nothing; batch_rest, where noise dominates; batches, how many exciting images each holds
capacity         features that share a target or patterns
difficulty       gradients that stay large, patterns that outnumber features
feature          BatchNorm and ReLU with exact batch statistics, alone with its teacher
plane            the (gamma, beta) plane with its dead cone
compete          a layer of features of different selectivity

labelled         what worlds do alike: named results, a grid of lanes, random numbers
worlds           all of them under their names
claims           what these worlds say about the claims

Names of constants: a tuple that spans an axis is the plural of the coordinate (strengths, arrivals, optimizers), a number
that counts an axis too (seeds); any other constant is in the singular (strength, lr). lr is one number, or one an optimizer.
beta2 is what a rule keeps of its mean square a step, whatever the rule calls it. weights: independent ones of each seed.
"""

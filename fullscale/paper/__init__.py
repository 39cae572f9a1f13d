"""The study paper: claims S1 to S13 from CNNs trained on CIFAR-10, by docs/protocol.md.

cells      the study's runs, found by what they are
rates      stage 1: the learning rate of each optimizer
contrasts  the ten primary contrasts, one number a seed each, and how they are decided
secondary  all else that the protocol names
claims     what is claimed of them, registered
"""

"""Toy worlds in which the claims can be seen in seconds. Each file holds all its constants; none imports torch.

silence    a weight without a gradient, under L2 and under weight decay
selective  a weight whose gradient arrives now and then: how much stronger L2 pulls than weight decay
worlds     the worlds together, on all cores
claims     what these worlds say about the claims
"""

"""The same rules on real CNNs: images in, trained networks, measures and certificates out.

data        images from scikit-learn's digits, folders, archives and IDX files
models      BasicNet, rebuilt from a short configuration; replicas trains several side by side
spec        what a training run is: configuration, help text and key in one
train       the training loop, measuring along the way
measure     inactive filters by activation and by scale, selectivity
prune       dead filters removed exactly, with a certificate; cost counts what that saves
checkpoint  a network in one file, without pickle; files writes files whole or not at all
store       the runs, found by the hash of what was asked for
sweep       many runs through the store and an executor
pocket      the CNN experiment that fits into minutes; tune is its learning-rate grid
claims      what it says about the paper's claims

store, spec, sweep, pocket, tune, claims, files and data do not import torch.
"""

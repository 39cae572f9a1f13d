"""The same rules on real CNNs: images in, trained networks, measures, smaller networks and certificates out.

data        images from archives, folders and IDX files, and scikit-learn's digits; fetched, checked, digested
feed        images on the device, shuffled and augmented there; stream brings what is larger than memory
models      BasicNet, VGGs, ResNets; replicas trains several networks side by side
spec        what a training run is: configuration, help text and key in one
train       the training loop; outcome is what a run leaves, execution where and how a step runs, resume how a run goes on,
            distributed how several processes share one
graph       a network as a graph, its BatchNorms and what is behind them; shapes fits it to narrower weights
measure     inactive filters by activation and by scale, selectivity; thresholds, how much hangs on them
monitor     the same while a network trains, in anyone's loop, and of what a filter died
watched     a study's runs followed filter by filter through every step, and what they say of selectivity
interventions  a randomised trial inside of networks: what makes filters die
prune       dead filters removed exactly, with a certificate; cost counts what that saves; export writes ONNX
revive      dead filters made new in a network that trains, and in its optimizer
criteria    published pruning criteria; pruning_study sets them beside the dead filters, pruning_work is what its workers do,
            pruning_data what came out, pruning_claims what that says
checkpoint  a network in one file, without pickle
studies     studies as files, their runs, how they stand, tables of what came out; sweep is what a worker does with a run
digits_study  the study of a BasicNet on digits in which filters die within minutes; lr_grid is that of its learning rates,
              digits_long that of these, an optimizer's all at one sum of learning rates
claims      what these say about the paper's claims

spec, studies, sweep, digits_study, lr_grid, digits_long, claims, thresholds, pruning_study, pruning_data,
pruning_claims and data do not import torch.
"""

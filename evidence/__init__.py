"""What is claimed, and what bears on it.

claim      estimates with their intervals, and how a decision turns them into verdicts
registry   the experiments, claims and pictures there are, each declared where it is written; sources that claims share
study      which runs are stored and which still run: the store decides
driver     hands tasks to an executor and alone writes what they give, whatever stops it
merge      stores of several machines joined into one
store      one SQLite file, one row a run, found by the hash of what was asked for
executors  who runs the work: processes of this machine, a SLURM cluster, a Ray cluster
progress   says what runs, what is done, what is left
files      files that are whole or not there
"""

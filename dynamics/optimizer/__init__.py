"""The rules as a torch.optim.Optimizer; groups says which parameters a regularizer takes."""

"""Pure torch.nn: no Lightning, nothing of ours from outside this folder."""

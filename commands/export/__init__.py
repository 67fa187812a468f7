"""`python cli.py export`: a trained task as an ONNX or torch.export file, and programs that run such a file."""

"""`report`: a finished run, comparison or search as one HTML file."""

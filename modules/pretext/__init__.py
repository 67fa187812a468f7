"""Inputs and targets of pretext tasks: masked patches, jigsaw tiles and chrominance."""

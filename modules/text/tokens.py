"""The ids of the tokens that every vocabulary begins with."""

PAD, BOS, EOS, UNK = range(4)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
"""Names of the special tokens, in the order of their ids."""
